"""What the tests of the client share."""

import traceback

from enrow_source.testing import bodies

BODY = bodies.completed("batch-1", 40)


def text_of_error(error: BaseException) -> str:
    """Return all that a log could hold of the error: its chain, with the local variables of every frame."""
    message = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    errors: list[BaseException | None] = [error]
    while (last := errors[-1]) is not None:
        message += f"{last!s} {last!r} {vars(last)} {last.args!r}"
        errors.append(last.__cause__ or last.__context__)
    return message
