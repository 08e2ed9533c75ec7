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

from ..fetch.counts import RunCounts
from ..fetch.stop import StopReason


class ExitCode(IntEnum):
    """How the command ends."""

    OK = 0
    """Done."""
    FAILED = 1
    """The run failed: a refused key, no credits, a destination that cannot be reached, metrics or a row of
    `enrow_runs` that cannot be written; what was loaded stays."""
    USAGE = 2
    """Something to fix in the call or in the settings; nothing was requested."""
    PARTIAL = 3
    """It loaded, but some batches could not be read: they are in `batch_errors`."""
    INTERRUPTED = 4
    """SIGTERM or the deadline: what was there is loaded, the next run goes on."""
    API_UNAVAILABLE = 5
    """The API did not answer for many batches in a row; what was there is loaded."""
    STUCK = 6
    """It loaded, but batches have been pending for longer than `stuck_after_h`, or a day with an unknown status."""
    IN_DOUBT = 7
    """It loaded, but a batch contradicts `submissions`: a submission that was resolved by hand is `unknown` again, or
    one became two batches. The log names it; see `enrow submissions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport(RunCounts):
    """What one run did."""

    rows: dict[str, int]
    """Rows loaded, by table."""
    recovered: int = 0
    """Load packages that an earlier run had left behind, loaded first."""
    destination: str
    dataset: str
    trigger: str
    started_at: datetime
    ended_at: datetime
    step_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each step: `extract`, `normalize`, `load`."""
    load_id: str | None = None
    """The load that brought the rows; None where there were none."""
    error: str | None = None
    """Kind and step of what ended it, without its message, which may quote a row; None where nothing did."""
    is_config_error: bool = False
    """Whether what ended it is something to fix in the call or in the settings."""

    @property
    def duration_s(self) -> float:
        """How long it took."""
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def exit_code(self) -> ExitCode:
        """What the command returns for this run."""
        return next(iter(self.reasons), ExitCode.OK)

    @property
    def reasons(self) -> list[ExitCode]:
        """All that was not as it should be, the gravest first."""
        is_unavailable = self.stop_reason is StopReason.API_UNAVAILABLE
        found = {
            ExitCode.USAGE: self.error is not None and self.is_config_error,
            ExitCode.FAILED: self.error is not None and not self.is_config_error,
            ExitCode.IN_DOUBT: bool(self.submissions_in_doubt),
            ExitCode.API_UNAVAILABLE: is_unavailable,
            ExitCode.STUCK: bool(self.stuck),
            ExitCode.PARTIAL: bool(self.unreadable or self.incomplete or self.invalid_ids),
            ExitCode.INTERRUPTED: self.stop_reason is not None and not is_unavailable,
        }
        return [code for code, holds in found.items() if holds]

    def __str__(self) -> str:
        counts = {
            "fetched": self.fetched,
            "completed": self.completed,
            "still ongoing": self.ongoing,
            "failed": self.failed,
            "status unknown": self.other,
            "could not be read": self.unreadable,
            "incomplete": self.incomplete,
            "stuck": self.stuck,
            "invalid ids": self.invalid_ids,
            "skipped events": self.skipped_events,
            "given up": self.given_up,
        }
        # What seldom happens is printed only when it does.
        message = {what: count for what, count in counts.items() if count or what in ("fetched", "completed")}
        lines = [f"{what:<18}{count:>8,}" for what, count in message.items()]
        lines += [f"{'rows loaded':<18}{count:>8,}  {table}" for table, count in self.rows.items()]
        if self.recovered:
            lines.insert(0, f"{'recovered':<18}{self.recovered:>8,}  load package(s) of an earlier run")
        if self.submissions_in_doubt:
            lines.append(f"{'in doubt':<18}{self.submissions_in_doubt:>8,}  submission(s): see enrow submissions")
        if self.stop_reason:
            lines.append(f"{'stopped early':<18}{self.stop_reason:>8}  the next run goes on")
        if self.error:
            lines.append(f"{'error':<18}{self.error}")
        if len(self.reasons) > 1:
            lines.append(f"{'reasons':<18}{', '.join(f'{code.name.lower()} ({code})' for code in self.reasons):>8}")
        return "\n".join([*lines, f"in {self.destination}, dataset {self.dataset}"])


@dataclass(frozen=True, slots=True)
class Start:
    """How a run began."""

    trigger: str
    """Who started it."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


def report_of(pipeline: dlt.Pipeline, source: DltSource, info: LoadInfo, recovered: int, start: Start) -> RunReport:
    """Report a run that has ended, from the trace of its pipeline."""
    trace = pipeline.last_trace
    extracted = trace.last_extract_info if trace else None
    normalized = trace.last_normalize_info if trace else None
    counts = RunCounts()
    for metrics in extracted.metrics.values() if extracted else ():
        for name, resource in ((n, r) for m in metrics for n, r in m["resource_metrics"].items()):
            if name in source.resources and resource.custom_metrics:  # each has the counts of the whole run
                counts = RunCounts.from_metrics(resource.custom_metrics)
    rows = normalized.row_counts if normalized else {}
    return RunReport(
        **counts.as_metrics(),
        **_of(pipeline, start),
        rows={table: count for table, count in sorted(rows.items()) if not table.startswith("_dlt") and count},
        recovered=recovered,
        destination=f"{pipeline.destination.destination_name} ({info.destination_displayable_credentials})",
        load_id=info.loads_ids[-1] if info.loads_ids else None,
    )


def failure_of(pipeline: dlt.Pipeline, error: str, start: Start, *, is_config_error: bool) -> RunReport:
    """Report a run that failed: nothing is known of what it fetched."""
    name = pipeline.destination.destination_name
    return RunReport(**_of(pipeline, start), rows={}, destination=name, error=error, is_config_error=is_config_error)


def _of(pipeline: dlt.Pipeline, start: Start) -> dict[str, Any]:
    """Return what a report says of a run however it ended."""
    trace = pipeline.last_trace
    steps = {step.step: (step.finished_at - step.started_at).total_seconds() for step in trace.steps} if trace else {}
    return {
        "dataset": pipeline.dataset_name,
        "trigger": start.trigger,
        "started_at": start.at,
        "ended_at": datetime.now(UTC),
        "step_s": {name: steps[name] for name in ("extract", "normalize", "load") if name in steps},
    }
