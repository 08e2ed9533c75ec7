"""The table `submit_runs`: how many people each run of `submit` read, left out and submitted. It names nobody."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import dlt

from ..destination.row_log import append_row
from ..errors import ConfigurationError
from .create_tables import SUBMIT_RUNS
from .plan import LeftOut, SubmissionPlan
from .protocol import Submission, SubmissionOutcome, SubmissionState
from .report import SubmissionReport, SubmitExitCode


@dataclass(slots=True)
class SubmitRun:
    """What a run of `submit` counts while it runs."""

    rows_read: int
    campaign: str | None
    submit_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    plan: SubmissionPlan | None = None
    """None before there is one."""
    accepted: int = 0
    unknown: int = 0
    credits_held: float = 0.0

    def count(self, submission: Submission, outcome: SubmissionOutcome) -> None:
        """Count what became of a submission."""
        if outcome.state is SubmissionState.ACCEPTED:
            self.accepted += len(submission.people)
            held = outcome.credits_held
            self.credits_held += submission.credits_reserved if held is None else held
        elif outcome.state is SubmissionState.UNKNOWN:
            self.unknown += len(submission.people)

    def append(self, pipeline: dlt.Pipeline, ended: SubmissionReport | Exception) -> None:
        """Write the row of the run; where that fails, the log says so."""
        if isinstance(ended, SubmissionReport):
            code, error = ended.exit_code, None
        else:
            is_usage = isinstance(ended, ConfigurationError)
            code, error = SubmitExitCode.USAGE if is_usage else SubmitExitCode.FAILED, type(ended).__name__
        left_out = self.plan.left_out if self.plan is not None else None
        row: dict[str, Any] = {
            "submit_id": self.submit_id,
            "started_at": self.started_at,
            "ended_at": datetime.now(UTC),
            "campaign": self.campaign,
            "outcome": code.name.lower(),
            "exit_code": int(code),
            "error": error,
            "rows_read": self.rows_read,
            **{f"left_out_{one.value}": None if left_out is None else left_out.get(one, 0) for one in LeftOut},
            "searches": None if self.plan is None else self.plan.searches,
            "searches_accepted": self.accepted,
            "searches_unknown": self.unknown,
            "credits_held": Decimal(str(self.credits_held)),
        }
        append_row(pipeline, SUBMIT_RUNS, row)
