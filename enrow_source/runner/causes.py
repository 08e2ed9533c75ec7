"""What ended a run, behind the errors that dlt and the drivers wrap around it."""

from __future__ import annotations

from ..errors import EnrowError


def root_cause(error: BaseException) -> BaseException:
    """Find what a person can act on: our own error, else the first cause."""
    while error.__cause__ is not None and not isinstance(error, EnrowError):
        error = error.__cause__
    return error


def one_line(cause: BaseException) -> str:
    """Tell an error in one line, all of it."""
    return " ".join(str(cause).split()) or type(cause).__name__


def first_line(error: BaseException) -> str:
    """Tell the first cause in a line: drivers add the statement, and what else they know, in the next ones."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
