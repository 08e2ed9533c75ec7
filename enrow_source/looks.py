"""Looks at batches: fetched, parsed and turned into rows, many at a time."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from queue import Empty, SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from typing import Final, Generic, TypeVar

from dlt.common import logger

from .arrow import pa
from .client import Answer, EnrowClient, Traffic
from .errors import BatchError, ErrorKind, InvalidResponseError
from .models import Batch, BatchStatus, parse_batch
from .settings import CHUNK_BATCHES, CHUNK_ROWS, ENDING_GRACE_S, ENDING_POLL_S
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


class EndReason(StrEnum):
    """Why a run ends before every batch was looked at; what it has is loaded."""

    STOPPED = "stopped"
    """The caller said so."""
    DEADLINE = "deadline"
    """`deadline_s` has passed."""
    NO_ANSWERS = "no_answers"
    """The API did not answer for many batches in a row."""


class Ending:
    """Watches whether a run is to end early.

    Args:
        stop: Set by the caller to end the run.
        deadline_s: Seconds from now after which the run ends; None for no limit.
        give_up_after: Batches in a row without an answer, after which the run ends.
    """

    def __init__(self, stop: Event | None, deadline_s: float | None, give_up_after: int) -> None:
        self._stop = stop or Event()
        self._deadline = time.monotonic() + (math.inf if deadline_s is None else deadline_s)
        self._left = self._give_up_after = give_up_after

    def note(self, look: Look) -> None:
        """Count the batches in a row that the API did not answer for."""
        unanswered = look.error is not None and look.error.kind in _UNANSWERED
        self._left = self._left - 1 if unanswered else self._give_up_after

    @property
    def reason(self) -> EndReason | None:
        """Why the run is to end; None while it is not."""
        if self._stop.is_set():
            return EndReason.STOPPED
        if time.monotonic() > self._deadline:
            return EndReason.DEADLINE
        return EndReason.NO_ANSWERS if self._left <= 0 else None


_UNANSWERED: Final = frozenset({ErrorKind.SERVER_ERROR, ErrorKind.RATE_LIMITED, ErrorKind.CONNECTION})


@dataclass(frozen=True, slots=True)
class LooksSoFar:
    """How far a run is, for who waits for it."""

    due: int
    """Batches that it looks at, if it does not end early."""
    looked_at: int = 0
    ongoing: int = 0
    """Batches that were looked at, and have not ended."""
    rows: int = 0
    """Rows of `phone_results`."""
    seconds: float = 0.0
    """Since the first batch was asked for."""

    @property
    def rows_per_s(self) -> float:
        """Rows in a second, since the first batch was asked for."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds that the batches left take, if they are like those before; None before the first one."""
        return self.seconds / self.looked_at * (self.due - self.looked_at) if self.looked_at else None

    def after(self, look: Look, seconds: float) -> LooksSoFar:
        """Count one look more."""
        ongoing = look.batch is not None and not BatchStatus.of(look.batch.status).is_terminal
        rows = look.results.num_rows if look.results is not None else 0
        return LooksSoFar(self.due, self.looked_at + 1, self.ongoing + ongoing, self.rows + rows, seconds)


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
    erased: dict[str, int] = field(default_factory=dict)
    """Results of erased persons, which are not loaded, by batch."""
    deferred: Sequence[str] = ()
    """Ids that later runs are to look at, although nobody may give them again."""
    stuck: int = 0
    """Batches that have been pending for too long."""
    damaged_ids: int = 0
    """Ids that could not be read where they lie."""
    traffic: Traffic | None = None
    """What all of the looks took; with the last of them."""
    ended: EndReason | None = None
    """Why these are the last ones, where not every batch was looked at."""

    def add(self, look: Look) -> None:
        """Add one look."""
        if look.error is not None:
            self.errors.append((look.batch_id, look.error, look.at))
        if look.batch is not None:
            self.seen.append((look.batch, look.at))
            if look.results is not None and look.batch.is_completed:
                self.erased[look.batch_id] = look.batch.results.count - look.results.num_rows
        if look.results is not None and look.results.num_rows:
            self.results.append(look.results)
            self.result_rows += look.results.num_rows

    def take_results(self) -> Chunk:
        """Take the results out, into a chunk of their own: they are many, and the rest goes better in one piece."""
        taken = Chunk(self.stamp, results=self.results, result_rows=self.result_rows)
        self.results, self.result_rows = [], 0
        return taken

    def rows_of_seen(self) -> Iterator[tuple[str, int]]:
        """Yield the batches that were seen, each with the number of its rows in `phone_results`."""
        for batch, _ in self.seen:
            erased = self.erased.get(batch.batch_id, 0)
            yield batch.batch_id, batch.results.count - erased if batch.is_completed else 0

    def __len__(self) -> int:
        """Count the looks."""
        return len(self.seen) + len(self.errors)


def look_at_batches(  # noqa: PLR0913 - what a run is made of
    batch_ids: Sequence[str],
    client: EnrowClient,
    stamp: Stamp,
    *,
    with_results: bool,
    ending: Ending,
    progress: Callable[[LooksSoFar], None] | None,
) -> Iterator[Chunk]:
    """Look at each batch once, many at a time, and yield the looks in chunks as they come in.

    A run that is to end early takes no new batches; those that are not answered soon are left to the next run.
    `progress` is told of each look, and before the first one.

    Raises:
        RunError: No batch can be read.
    """

    def fetch(batch_id: str) -> tuple[str, Answer | BatchError, datetime]:
        try:
            answer = client.fetch_batch(batch_id)
        except BatchError as error:
            return batch_id, _bare(error), datetime.now(UTC)
        return batch_id, answer, answer.fetched_at

    chunk, so_far, began = Chunk(stamp), LooksSoFar(len(batch_ids)), time.monotonic()
    if progress is not None:
        progress(so_far)
    workers = _Workers(fetch, batch_ids, client.connections, lambda: ending.reason is not None)
    for batch_id, answer, at in workers.outcomes():
        # Here and not in the threads: many of them parsing at a time cost half as much again, and twice the memory.
        look = _look(batch_id, answer, at, stamp, with_results=with_results)
        so_far = so_far.after(look, time.monotonic() - began)
        if progress is not None:
            progress(so_far)
        ending.note(look)
        chunk.add(look)
        if chunk.result_rows >= CHUNK_ROWS:
            yield chunk.take_results()
            # Or the pool keeps the most that any chunk has had.
            pa.default_memory_pool().release_unused()
        if len(chunk) >= CHUNK_BATCHES:
            yield chunk
            chunk = Chunk(stamp)
    if so_far.looked_at < so_far.due:
        chunk.ended = ending.reason
    if len(chunk) or chunk.ended:
        yield chunk


def _look(batch_id: str, answer: Answer | BatchError, at: datetime, stamp: Stamp, *, with_results: bool) -> Look:
    if isinstance(answer, BatchError):
        return Look(batch_id, at, error=answer)
    try:
        batch = parse_batch(batch_id, answer.body)
    except InvalidResponseError as error:
        error.http_status = answer.http_status
        return Look(batch_id, at, error=_bare(error))
    if batch.results.count and not batch.is_completed:
        told = f"{batch.results.count} results of {batch_id!r:.80} are not loaded: it is {batch.status!r:.40}"
        logger.warning(told)
    results = phone_results_table(batch, at, stamp) if with_results else None
    return Look(batch_id, at, dataclasses.replace(batch, results=batch.results.without_rows()), results)


def _bare(error: BatchError) -> BatchError:
    """Drop the frames that the error came through: they would keep its whole answer in memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class _Workers(Generic[Item, Outcome]):
    """Does `work` for many items at a time, at most twice as many as there are workers ahead of who takes the outcomes.

    Its threads are daemons, unlike those of an executor: a run that is told to end does not wait for an answer.
    """

    def __init__(
        self,
        work: Callable[[Item], Outcome],
        items: Sequence[Item],
        count: int,
        is_ending: Callable[[], bool],
    ) -> None:
        self._work, self._items, self._is_ending = work, items, is_ending
        self._count = min(count, len(items))
        self._taken, self._taking = 0, Lock()
        self._room, self._closed = Semaphore(2 * count), Event()
        self._outcomes: SimpleQueue[Outcome | _Failure] = SimpleQueue()

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcomes as they come; once it is ending, of those under way that come within a short while.

        Raises:
            Exception: What `work` raised.
        """
        for number in range(self._count):
            Thread(target=self._serve, name=f"enrow-{number}", daemon=True).start()
        received, until = 0, math.inf
        try:
            while received < len(self._items) and time.monotonic() < until:
                for outcome in self._next():
                    received += 1
                    yield outcome
                    self._room.release()
                if self._is_ending():
                    until = min(until, time.monotonic() + ENDING_GRACE_S) if self._taken > received else 0.0
        finally:
            self._closed.set()
            for _ in range(self._count):
                self._room.release()

    def _next(self) -> list[Outcome]:
        try:
            outcome = self._outcomes.get(timeout=ENDING_POLL_S)
        except Empty:
            return []
        if isinstance(outcome, _Failure):
            raise outcome.error
        return [outcome]

    def _serve(self) -> None:
        while True:
            self._room.acquire()
            with self._taking:
                if self._closed.is_set() or self._is_ending() or self._taken == len(self._items):
                    return
                item = self._items[self._taken]
                self._taken += 1
            try:
                self._outcomes.put(self._work(item))
            except Exception as error:  # noqa: BLE001 - raised again where the outcomes are taken
                self._outcomes.put(_Failure(error))


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception
