"""What a run did: as an object, in a few lines for a person, and how the command ends for a scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import dlt
from dlt.common.pipeline import LoadInfo
from dlt.extract import DltSource


class ExitCode(IntEnum):
    """How the command ends."""

    OK = 0
    """Done."""
    FAILED = 1
    """The run failed: a refused key, no credits, a destination that cannot be reached; what was loaded stays."""
    USAGE = 2
    """Something to fix in the call or in the settings; nothing was requested."""
    SOME_UNREADABLE = 3
    """It loaded, but some batches could not be read: they are in `batch_errors`."""
    ENDED_EARLY = 4
    """SIGTERM or the deadline: what was there is loaded, the next run goes on."""
    GAVE_UP = 5
    """The API did not answer for many batches in a row; what was there is loaded."""
    STUCK = 6
    """It loaded, but batches have been pending for longer than `stuck_after_h`."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run did."""

    completed: int
    ongoing: int
    failed: int
    other: int
    """Batches with a status that is not documented; looked at again, as ongoing ones are."""
    unreadable: int
    rows: dict[str, int]
    """Rows loaded, by table."""
    drained: int
    """Load packages that an earlier run had left behind, loaded first."""
    destination: str
    dataset: str
    trigger: str
    """Who started it."""
    started_at: datetime
    ended_at: datetime
    stuck: int = 0
    """Batches that have been pending for longer than `stuck_after_h`."""
    damaged_ids: int = 0
    """Ids, and files of ids, that could not be read."""
    requests: int = 0
    """GETs, also those that were tried again."""
    retries: int = 0
    bytes_received: int = 0
    """Bytes of bodies, as they came: packed."""
    step_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each step: `extract`, `normalize`, `load`."""
    load_id: str | None = None
    """The load that brought the rows; None where there were none."""
    ended: str | None = None
    """Why it ended early: `stopped`, `deadline`, `no_answers`; None where every batch was looked at."""
    error: str | None = None
    """Kind and step of what ended it, without its message, which may quote a row; None where nothing did."""
    is_to_be_fixed: bool = False
    """Whether what ended it is something to fix in the call or in the settings."""

    @property
    def looked_at(self) -> int:
        """Batches that were asked for: one GET each, and more where it was retried."""
        return self.completed + self.ongoing + self.failed + self.other + self.unreadable

    @property
    def duration_s(self) -> float:
        """How long it took."""
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def exit_code(self) -> ExitCode:
        """What the command returns for this run."""
        if self.error is not None:
            return ExitCode.USAGE if self.is_to_be_fixed else ExitCode.FAILED
        if self.ended is not None:
            return ExitCode.GAVE_UP if self.ended == "no_answers" else ExitCode.ENDED_EARLY
        if self.stuck:
            return ExitCode.STUCK
        return ExitCode.SOME_UNREADABLE if self.unreadable or self.damaged_ids else ExitCode.OK

    def __str__(self) -> str:
        """Tell it in a few lines."""
        counts = {
            "looked at": self.looked_at,
            "completed": self.completed,
            "still ongoing": self.ongoing,
            "failed": self.failed,
            "status unknown": self.other,
            "could not be read": self.unreadable,
            "stuck": self.stuck,
            "damaged ids": self.damaged_ids,
        }
        # What seldom happens is told only when it does.
        told = {what: count for what, count in counts.items() if count or what in ("looked at", "completed")}
        lines = [f"{what:<18}{count:>8,}" for what, count in told.items()]
        lines += [f"{'rows loaded':<18}{count:>8,}  {table}" for table, count in self.rows.items()]
        if self.drained:
            lines.insert(0, f"{'finished first':<18}{self.drained:>8,}  load(s) of an earlier run")
        if self.ended:
            lines.append(f"{'ended early':<18}{self.ended:>8}  the next run goes on")
        return "\n".join([*lines, f"in {self.destination}, dataset {self.dataset}"])


@dataclass(frozen=True, slots=True)
class Start:
    """How a run began."""

    trigger: str
    """Who started it."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


def report_of(pipeline: dlt.Pipeline, source: DltSource, info: LoadInfo, drained: int, start: Start) -> RunReport:
    """Report a run that has ended, from the trace of its pipeline."""
    trace = pipeline.last_trace
    counts: dict[str, Any] = {}
    extracted = trace.last_extract_info if trace else None
    normalized = trace.last_normalize_info if trace else None
    for metrics in extracted.metrics.values() if extracted else ():
        for name, resource in ((n, r) for m in metrics for n, r in m["resource_metrics"].items()):
            if name in source.resources:  # each counts every look
                counts |= resource.custom_metrics
    rows = normalized.row_counts if normalized else {}
    return RunReport(
        completed=counts.get("completed", 0),
        ongoing=counts.get("ongoing", 0),
        failed=counts.get("failed", 0),
        other=counts.get("unknown", 0),
        unreadable=counts.get("errors", 0),
        rows={table: count for table, count in sorted(rows.items()) if not table.startswith("_dlt") and count},
        drained=drained,
        destination=f"{pipeline.destination.destination_name} ({info.destination_displayable_credentials})",
        dataset=pipeline.dataset_name,
        trigger=start.trigger,
        started_at=start.at,
        ended_at=datetime.now(UTC),
        **{name: counts.get(name, 0) for name in ("stuck", "damaged_ids", "requests", "retries", "bytes_received")},
        step_s=_step_s(pipeline),
        load_id=info.loads_ids[-1] if info.loads_ids else None,
        ended=counts.get("ended"),
    )


def failure_of(pipeline: dlt.Pipeline, error: str, start: Start, *, is_to_be_fixed: bool) -> RunReport:
    """Report a run that failed: nothing is known of what it looked at."""
    return RunReport(
        completed=0,
        ongoing=0,
        failed=0,
        other=0,
        unreadable=0,
        drained=0,
        rows={},
        destination=pipeline.destination.destination_name,
        dataset=pipeline.dataset_name,
        trigger=start.trigger,
        started_at=start.at,
        ended_at=datetime.now(UTC),
        step_s=_step_s(pipeline),
        error=error,
        is_to_be_fixed=is_to_be_fixed,
    )


def _step_s(pipeline: dlt.Pipeline) -> dict[str, float]:
    trace = pipeline.last_trace
    steps = {step.step: step for step in trace.steps} if trace else {}
    return {
        name: (steps[name].finished_at - steps[name].started_at).total_seconds()
        for name in ("extract", "normalize", "load")
        if name in steps
    }
