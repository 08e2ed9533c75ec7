"""Batch ids, as they are given: strings, and dlt resources that yield them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dlt.extract import DltResource

from ..errors import InvalidBatchIdError

BatchIds = Iterable[str | DltResource] | DltResource
"""An iterable of ids, or a dlt resource that yields ids, or dicts with an `id` or a `batch_id`; or several of both."""


@dataclass(frozen=True, slots=True)
class InvalidEntry:
    """What a source of ids yields in place of an id that cannot be read."""

    message: str
    """Where it is and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class BatchIdsRead:
    """What was read from all sources of ids."""

    ids: tuple[str, ...]
    """Each once, in the order they came."""
    from_resources: frozenset[str]
    """Those that a resource gave: it may not give them again in the next run."""
    invalid: tuple[str, ...]
    """What could not be read."""


_STOP_EVERY: Final = 1_000
"""Ids read between two looks at whether the run is stopped."""


class BatchIdInput:
    """The ids of a run: those given, and those that resources yield, each time they are iterated."""

    def __init__(self, given: Iterable[str], resources: Iterable[DltResource]) -> None:
        self.given = tuple(given)
        self.resources = tuple(resources)

    def read(self, is_stopped: Callable[[], bool] = lambda: False) -> BatchIdsRead:
        """Read the resources, until they end or the run is stopped.

        Raises:
            InvalidBatchIdError: An id is empty or not a string; shows which.
        """
        invalid: list[str] = []
        found: dict[str, None] = {}
        for resource in self.resources:
            for position, item in enumerate(resource):
                if position % _STOP_EVERY == 0 and is_stopped():
                    return BatchIdsRead((), frozenset(), tuple(invalid))
                if isinstance(item, InvalidEntry):
                    invalid.append(item.message)
                else:
                    found[batch_id_of(item, position)] = None
        ids = tuple(dict.fromkeys([*self.given, *found])) if found else self.given
        return BatchIdsRead(ids, frozenset(found), tuple(invalid))

    def __iter__(self) -> Iterator[str]:
        """Read the resources, and iterate over the ids."""
        return iter(self.read().ids)


def read_batch_ids(batch_ids: BatchIds, *more: DltResource) -> BatchIdInput:
    """Take the ids trimmed, each once, in the order given; those of resources after the others.

    An iterable is read at once, so that a bad id is found before anything runs; a resource when the ids are wanted.

    Raises:
        InvalidBatchIdError: An id is empty or not a string; shows which.
    """
    if isinstance(batch_ids, DltResource):
        return BatchIdInput((), (batch_ids, *more))
    if isinstance(batch_ids, (str, bytes, Mapping)) or not isinstance(batch_ids, Iterable):
        kind = type(batch_ids).__name__
        raise InvalidBatchIdError(f"batch_ids is a {kind} ({batch_ids!r:.80}): pass a list of ids, such as ['...']")
    given: dict[str, None] = {}
    resources: list[DltResource] = []
    for position, item in enumerate(batch_ids):
        if not isinstance(item, str) and isinstance(item, DltResource):
            resources.append(item)
        else:
            given[batch_id_of(item, position)] = None
    return BatchIdInput(given, [*resources, *more])


def batch_id_of(item: object, at: str | int) -> str:
    """Return the id that a string, or a dict with an `id` or a `batch_id`, is; trimmed.

    Args:
        item: What was given.
        at: Where, for the error; a number is a position in `batch_ids`.

    Raises:
        InvalidBatchIdError: It is empty or not a string; says where.
    """
    if isinstance(item, str) and item.isascii() and item.isprintable() and item == item.strip() != "":
        return item  # nearly all of them; there may be a million
    where = at if isinstance(at, str) else f"batch_ids[{at}]"
    batch_id = item
    if isinstance(item, Mapping):
        if "batch_id" not in item and "id" not in item:
            keys = ", ".join(map(repr, item)) or "no keys"
            raise InvalidBatchIdError(f"{where} has neither 'id' nor 'batch_id', but {keys:.200}")
        batch_id = item["batch_id"] if "batch_id" in item else item["id"]
    if not isinstance(batch_id, str):
        raise InvalidBatchIdError(f"{where} is {batch_id!r:.80}, not a string")
    if not batch_id.strip():
        raise InvalidBatchIdError(f"{where} is {batch_id!r:.80}: a batch id cannot be empty")
    if "\0" in batch_id or not _is_utf8(batch_id):
        raise InvalidBatchIdError(f"{where} is {batch_id!r:.80}: it has a character that cannot be stored")
    return batch_id.strip()


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


IdOrError = str | InvalidEntry
"""An id, or what stands in place of one that cannot be read."""


def id_or_error(item: object, where: str) -> IdOrError:
    """Return the id, or the invalid entry that says where it is and what is wrong."""
    try:
        return batch_id_of(item, where)
    except InvalidBatchIdError as error:
        return InvalidEntry(str(error))
