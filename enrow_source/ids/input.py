"""Batch ids, as they are given: ids, tables of them, and dlt resources that yield them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Final

from dlt.extract import DltResource

from ..errors import ConfigurationError, InvalidBatchIdError
from .validate import IdOrError, InvalidEntry, SkippedEvent, batch_id_of, column_values, id_or_error, is_plain

BatchIds = Iterable[str | DltResource] | DltResource
"""An iterable of ids, or a dlt resource that yields ids, dicts with an id, or tables; or several of both."""


@dataclass(frozen=True, slots=True)
class BatchIdsRead:
    """What was read from all sources of ids."""

    ids: tuple[str, ...]
    """Each once, in the order they came."""
    given: tuple[str, ...]
    """Those that the caller named, and no resource."""
    from_resources: frozenset[str]
    """Those that a resource gave: it may not give them again in the next run."""
    invalid: tuple[str, ...]
    """What could not be read."""
    skipped_events: int
    """Webhook events of other products."""


_STOP_EVERY: Final = 1_000
"""Ids read between two checks whether the run is stopped."""


class BatchIdInput:
    """The ids of a run: those given, and those that resources yield, each time they are iterated."""

    def __init__(
        self, given: Iterable[str], resources: Iterable[DltResource], others: Iterable[IdOrError] = ()
    ) -> None:
        self.given = tuple(given)
        self.resources = tuple(resources)
        self._others = tuple(others)

    def read(self, is_stopped: Callable[[], bool] = lambda: False) -> BatchIdsRead:
        """Read the resources, until they end or the run is stopped."""
        found: dict[str, None] = {}
        others = list(self._others)
        for resource in self.resources:
            name = resource.name
            for position, item in enumerate(resource):
                if position % _STOP_EVERY == 0 and is_stopped():
                    return self._read({}, others)
                if is_plain(item):
                    found[item] = None
                    continue
                for entry in _entries(item, f"{name}[{position}]"):
                    if isinstance(entry, str):
                        found[entry] = None
                    else:
                        others.append(entry)
        return self._read(found, others)

    def _read(self, found: Mapping[str, None], others: Sequence[IdOrError]) -> BatchIdsRead:
        ids = tuple(dict.fromkeys([*self.given, *found])) if found else self.given
        invalid = tuple(entry.message for entry in others if isinstance(entry, InvalidEntry))
        return BatchIdsRead(ids, self.given, frozenset(found), invalid, len(others) - len(invalid))

    def __iter__(self) -> Iterator[str]:
        """Read the resources, and iterate over the ids."""
        return iter(self.read().ids)


def no_batch_ids(batch_ids: BatchIds) -> BatchIdInput:
    """Return the input of a run that fetches pending batches alone.

    Raises:
        ConfigurationError: There are ids, which the run would pass over.
    """
    if not isinstance(batch_ids, Sized) or len(batch_ids) > 0:
        raise ConfigurationError("pending_only reads no ids, and batch_ids has some: leave out the one or the other")
    return BatchIdInput((), ())


def read_batch_ids(batch_ids: BatchIds, *more: DltResource) -> BatchIdInput:
    """Take the ids trimmed, each once, in the order given; those of resources after the others.

    An iterable is read at once, so that a bad id is found before anything runs; a resource when the ids are wanted,
    and what is no id in it is reported and left out.

    Raises:
        InvalidBatchIdError: An entry of the iterable is no id; shows which.
    """
    if isinstance(batch_ids, DltResource):
        return BatchIdInput((), (batch_ids, *more))
    values = column_values(batch_ids, "batch_ids")
    batch_ids = batch_ids if values is None else values  # type: ignore[assignment]  # checked below, one by one
    if isinstance(batch_ids, str | bytes | Mapping) or not isinstance(batch_ids, Iterable):
        kind = type(batch_ids).__name__
        raise InvalidBatchIdError(f"batch_ids is a {kind} ({batch_ids!r:.80}): pass a list of ids, such as ['...']")
    given: dict[str, None] = {}
    resources: list[DltResource] = []
    others: list[IdOrError] = []
    for position, item in enumerate(batch_ids):
        if is_plain(item):
            given[item] = None
        elif isinstance(item, DltResource):
            resources.append(item)
        elif isinstance(item, InvalidEntry | SkippedEvent):
            others.append(item)  # of standard input
        else:
            given[batch_id_of(item, f"batch_ids[{position}]")] = None
    return BatchIdInput(given, [*resources, *more], others)


def _entries(item: object, where: str) -> Iterator[IdOrError]:
    """Yield the entries of an item of a resource: one, or those of a table."""
    if isinstance(item, InvalidEntry | SkippedEvent):
        yield item
        return
    try:
        values = column_values(item, where)
    except InvalidBatchIdError as error:
        yield InvalidEntry(str(error))
        return
    if values is None:
        yield id_or_error(item, where)
    else:
        for row, value in enumerate(values, 1):
            yield id_or_error(value, f"{where}, row {row}")
