"""What a run has seen so far of its batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..api.models import BatchStatus
from ..errors import ErrorKind
from .results import Chunk


@dataclass(slots=True)
class Seen:
    """Grows with each chunk."""

    statuses: Counter[BatchStatus | None] = field(default_factory=Counter)
    """Batches by status; None for those that could not be read."""
    answered: set[str] = field(default_factory=set)
    """Batches that the API answered for."""
    ended: set[str] = field(default_factory=set)
    """Of these, completed or failed."""
    undocumented: dict[str, str] = field(default_factory=dict)
    """Batches with a status that is not documented, and the status."""
    requested: dict[str, int] = field(default_factory=dict)
    """Searches of each batch."""
    unknown: set[str] = field(default_factory=set)
    """Ids that the API answered with 'unknown or expired'."""
    results: int = 0
    """Rows of `phone_results`."""
    incomplete: int = 0
    """Batches that were loaded without a count or an amount of credits that was invalid."""

    @property
    def fetched(self) -> int:
        """Batches whose fetch ended in this run."""
        return self.statuses.total()

    def add(self, chunk: Chunk) -> None:
        """Count a chunk."""
        self.results += sum(fetched.results_loaded for fetched in chunk.batches)
        for batch in (fetched.batch for fetched in chunk.batches):
            self.answered.add(batch.batch_id)
            self.statuses[batch.known_status] += 1
            self.requested[batch.batch_id] = batch.stats.requested or 0
            if batch.is_terminal:
                self.ended.add(batch.batch_id)
            elif batch.known_status is BatchStatus.UNKNOWN:
                self.undocumented[batch.batch_id] = batch.status
        unanswered = sum(error.kind is ErrorKind.NOT_ANSWERED for _, error, _ in chunk.errors)
        # Who did not answer before the run stopped is left to the next run, and is no batch that cannot be read.
        self.statuses[None] += chunk.unreadable - unanswered
        self.incomplete += len(chunk.errors) - chunk.unreadable
        self.unknown |= {batch_id for batch_id, error, _ in chunk.errors if error.kind is ErrorKind.EXPIRED_OR_UNKNOWN}
