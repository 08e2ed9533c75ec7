"""A pool of daemon threads that fetch, with backpressure."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from typing import Generic, TypeVar

from ..settings import STOP_GRACE_S, STOP_POLL_S

Item = TypeVar("Item")

Outcome = TypeVar("Outcome")


class Pool(Generic[Item, Outcome]):
    """Does `work` for many items at a time, at most twice as many as there are workers ahead of who takes the outcomes.

    Its threads are daemons, unlike those of an executor: a run that is stopped does not wait for an answer.
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
        self._under_way: dict[int, float] = {}
        """Position of each item that is being worked on, and since when."""
        self._room, self._closed = Semaphore(2 * count), Event()
        self._outcomes: SimpleQueue[Outcome | Exception] = SimpleQueue()

    def outcomes(self) -> Iterator[Outcome]:
        """Yield outcomes as they come, once it is ending for a short while alone; raises what `work` raised."""
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
                    until = min(until, time.monotonic() + STOP_GRACE_S) if self._taken > received else 0.0
        finally:
            self._closed.set()
            for _ in range(self._count):
                self._room.release()

    def unfinished(self) -> list[tuple[Item, float]]:
        """Return the items that were begun and have no outcome, each with the seconds that it has taken so far."""
        now = time.monotonic()
        return [(self._items[number], now - since) for number, since in sorted(self._under_way.copy().items())]

    def _next(self) -> list[Outcome]:
        try:
            outcome = self._outcomes.get(timeout=STOP_POLL_S)
        except Empty:
            return []
        if isinstance(outcome, Exception):
            raise outcome
        return [outcome]

    def _serve(self) -> None:
        while True:
            self._room.acquire()
            with self._taking:
                if self._closed.is_set() or self._is_ending() or self._taken == len(self._items):
                    return
                number = self._taken
                self._taken += 1
                self._under_way[number] = time.monotonic()
            try:
                outcome: Outcome | Exception = self._work(self._items[number])
            except Exception as error:  # noqa: BLE001 - raised again where the outcomes are taken
                outcome = error
            del self._under_way[number]
            self._outcomes.put(outcome)
