"""Whether and why a run stops before every batch was fetched."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection
from enum import StrEnum
from threading import Event
from typing import Final

from ..errors import BatchError, ErrorKind


class StopReason(StrEnum):
    """Why a run stops before every batch was fetched; what it has is loaded."""

    STOPPED = "stopped"
    """The caller said so."""
    DEADLINE = "deadline"
    """`deadline_s` has passed."""
    API_UNAVAILABLE = "api_unavailable"
    """The API did not answer for many batches in a row."""


class StopCondition:
    """Watches whether a run ends early: `stop` is set, `deadline_s` is over, or too many batches failed in a row."""

    def __init__(self, stop: Event | None, deadline_s: float | None, max_consecutive_failures: int) -> None:
        self._stop = stop or Event()
        self._deadline = time.monotonic() + (math.inf if deadline_s is None else deadline_s)
        self._left = self._limit = max_consecutive_failures
        self._failed_before: frozenset[str] = frozenset()
        self._has_answer = False
        self._failures: Counter[ErrorKind] = Counter()
        self.last_failure = ""
        """What was wrong with the last batch that the API did not answer for."""

    def expect_failures(self, batch_ids: Collection[str]) -> None:
        """Name batches whose last fetch failed: that they fail again says nothing of the API."""
        self._failed_before = frozenset(batch_ids)

    def record(self, batch_id: str, error: BatchError | None) -> None:
        """Count the batches in a row that the API did not answer for."""
        if error is None or error.kind not in _UNANSWERED:
            self._left, self._has_answer = self._limit, True
            return
        self._failures[error.kind] += 1
        self.last_failure = error.message
        if batch_id not in self._failed_before:
            self._left -= 1

    @property
    def reason(self) -> StopReason | None:
        """Why the run is to end; None while it is not."""
        if self._stop.is_set():
            return StopReason.STOPPED
        if time.monotonic() > self._deadline:
            return StopReason.DEADLINE
        return StopReason.API_UNAVAILABLE if self._left <= 0 else None

    @property
    def outage(self) -> StopReason | None:
        """Whether the API answered for no batch at all, however few there were; a single 5xx may be the batch's own."""
        failures = self._failures
        is_outage = failures.total() > 1 or (failures.total() and not failures[ErrorKind.SERVER_ERROR])
        return StopReason.API_UNAVAILABLE if is_outage and not self._has_answer else None


_UNANSWERED: Final = frozenset({ErrorKind.SERVER_ERROR, ErrorKind.RATE_LIMITED, ErrorKind.CONNECTION})
