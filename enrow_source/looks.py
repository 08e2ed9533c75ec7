"""Looks at batches: fetched, parsed and turned into rows, many at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from typing import TypeVar

import pyarrow as pa

from .client import EnrowClient
from .errors import BatchError, InvalidResponseError
from .models import Batch, parse_batch
from .settings import CHUNK_BATCHES, CHUNK_ROWS
from .tables import Seen, Stamp, phone_results_table

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at one batch gave: an answer or an error."""

    batch_id: str
    at: datetime
    batch: Batch | None = None
    """Without its results, which are in `results` and take less memory there."""
    results: pa.Table | None = None
    """Rows of `phone_results`; None where they are not wanted."""
    error: BatchError | None = None


@dataclass(slots=True)
class Chunk:
    """Looks that are handed to dlt together."""

    stamp: Stamp
    creates_tables: bool = False
    """Whether tables are to be created, also those that get no rows."""
    seen: list[Seen] = field(default_factory=list)
    results: list[pa.Table] = field(default_factory=list)
    errors: list[tuple[str, BatchError, datetime]] = field(default_factory=list)
    result_rows: int = 0

    def add(self, look: Look) -> None:
        """Add one look."""
        if look.error is not None:
            self.errors.append((look.batch_id, look.error, look.at))
        if look.batch is not None:
            self.seen.append((look.batch, look.at))
        if look.results is not None and look.results.num_rows:
            self.results.append(look.results)
            self.result_rows += look.results.num_rows

    @property
    def is_full(self) -> bool:
        """Whether the chunk has the size that loads best."""
        return self.result_rows >= CHUNK_ROWS or len(self.seen) + len(self.errors) >= CHUNK_BATCHES

    def __bool__(self) -> bool:
        """Whether the chunk holds anything."""
        return bool(self.seen or self.errors)


def look_at_batches(
    batch_ids: Sequence[str], client: EnrowClient, stamp: Stamp, *, connections: int, with_results: bool
) -> Iterator[Chunk]:
    """Look at each batch once, `connections` at a time, and yield the looks in chunks as they come in.

    Raises:
        RunError: No batch can be read.
    """

    def look(batch_id: str) -> Look:
        try:
            answer = client.fetch_batch(batch_id)
        except BatchError as error:
            return Look(batch_id, datetime.now(UTC), error=error)
        try:
            batch = parse_batch(batch_id, answer.body)
        except InvalidResponseError as error:
            error.http_status = answer.http_status
            return Look(batch_id, answer.fetched_at, error=error)
        results = phone_results_table(batch, answer.fetched_at, stamp) if with_results else None
        counted = dataclasses.replace(batch, results=batch.results.without_rows())
        return Look(batch_id, answer.fetched_at, counted, results)

    chunk = Chunk(stamp)
    for done in _in_parallel(look, batch_ids, connections):
        chunk.add(done)
        if chunk.is_full:
            yield chunk
            chunk = Chunk(stamp)
    if chunk:
        yield chunk


def _in_parallel(
    work: Callable[[Item], Outcome], items: Sequence[Item], workers: int
) -> Generator[Outcome, None, None]:
    """Yield the outcomes as they come; at most twice as many items are under way as there are workers.

    The threads are daemons, unlike those of an executor: a run that is told to end does not wait for an answer.
    """
    waiting, taking = iter(items), Lock()
    outcomes: SimpleQueue[Outcome | _Failure] = SimpleQueue()
    room, closed = Semaphore(2 * workers), Event()

    def serve() -> None:
        while True:
            room.acquire()
            with taking:
                item = next(waiting, _NOTHING)
            if closed.is_set() or isinstance(item, _Nothing):
                return
            try:
                outcomes.put(work(item))
            except Exception as error:  # noqa: BLE001 - raised again where the outcomes are taken
                outcomes.put(_Failure(error))

    for number in range(min(workers, len(items))):
        Thread(target=serve, name=f"enrow-{number}", daemon=True).start()
    try:
        for _ in items:
            outcome = outcomes.get()
            if isinstance(outcome, _Failure):
                raise outcome.error
            yield outcome
            room.release()
    finally:
        closed.set()
        room.release(workers)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


class _Nothing:
    """Stands for the end of the items."""


_NOTHING = _Nothing()
