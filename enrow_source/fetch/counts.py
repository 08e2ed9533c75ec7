"""What a run counts, from the source to the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ..api.client import RequestStats
from ..api.models import BatchStatus
from .stop import StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """Counts of one extraction."""

    completed: int = 0
    ongoing: int = 0
    failed: int = 0
    other: int = 0
    """Batches with a status that is not documented; fetched again, as ongoing ones are."""
    unreadable: int = 0
    """Batches that could not be read; they are in `batch_errors`."""
    incomplete: int = 0
    """Batches that were loaded without a count or an amount of credits that was invalid; see `batch_errors`."""
    stuck: int = 0
    """Batches that have been pending for longer than `stuck_after_h`, or for a day with an unknown status."""
    invalid_ids: int = 0
    """Ids, and files of ids, that could not be read."""
    skipped_events: int = 0
    """Webhook events of other products among the ids."""
    given_up: int = 0
    """Deferred ids that this run gave up: the API had answered 'unknown or expired' too often."""
    submissions_in_doubt: int = 0
    """Submissions that their batches contradict: they are `unknown` again, or became two batches."""
    requests: int = 0
    """GETs, also those that were tried again."""
    retries: int = 0
    """GETs that repeated another one."""
    bytes_received: int = 0
    """Bytes of bodies, as they came: compressed."""
    stop_reason: StopReason | None = None
    """Why the run stopped early; None where every batch was fetched."""

    @property
    def fetched(self) -> int:
        """Batches that were asked for: one GET each, and more where it was retried."""
        return self.completed + self.ongoing + self.failed + self.other + self.unreadable

    @classmethod
    def of(cls, statuses: Counter[BatchStatus | None], requests: RequestStats, **others: Any) -> Self:  # noqa: ANN401 - fields
        """Count batches by status, None for those that could not be read, and requests."""
        return cls(
            completed=statuses[BatchStatus.COMPLETED],
            ongoing=statuses[BatchStatus.ONGOING],
            failed=statuses[BatchStatus.FAILED],
            other=statuses[BatchStatus.UNKNOWN],
            unreadable=statuses[None],
            requests=requests.requests,
            retries=requests.retries,
            bytes_received=requests.bytes_received,
            **others,
        )

    def as_metrics(self) -> dict[str, Any]:
        """Return the counts as dlt keeps them, beside the metrics of a resource."""
        return asdict(self)

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, Any]) -> Self:
        """Read the counts back from the metrics of a resource; zeros where it has none."""
        return cls(**{field.name: metrics[field.name] for field in fields(cls) if field.name in metrics})
