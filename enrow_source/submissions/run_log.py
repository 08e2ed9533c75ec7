"""The table `submit_runs`: how many people each run of `submit` read, left out and submitted. It names nobody."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from ..destination.row_log import Row, log_table
from ..errors import ConfigurationError
from ..tables.schema import DataType
from .plan import LeftOut, SubmissionPlan
from .protocol import Submission, SubmissionOutcome, SubmissionState
from .report import SubmissionReport, SubmitExitCode

_LEFT_OUT: Final[Mapping[LeftOut, str]] = {
    LeftOut.INVALID: "Rows left out because they cannot be searched.",
    LeftOut.REPEATED: "Rows left out because the same person stands in an earlier one.",
    LeftOut.ERASED: "Rows left out because the person was erased.",
    LeftOut.IN_SUBMISSION: "Rows left out because the person is in a submission that is not over.",
    LeftOut.FOUND: "Rows left out because the number was found already.",
    LeftOut.NOT_FOUND: "Rows left out because the person was searched and not found, not long ago.",
    LeftOut.BEYOND_LIMIT: "Rows left out because `--limit` other people come first.",
}
_COLUMNS: Final[dict[str, tuple[DataType, str]]] = {
    "submit_id": ("text", "A name of its own for each run; joins `account_credits`."),
    "started_at": ("timestamp", "When it began to submit, UTC: its input was read by then."),
    "ended_at": ("timestamp", "When it ended, UTC."),
    "campaign": ("text", "The campaign that it submitted for."),
    "outcome": ("text", "How it ended, the name of the exit code in lower case: `ok`, `failed`, `partial`, ..."),
    "exit_code": ("bigint", "The same as a number: the exit code of the command."),
    "error": ("text", "Kind of the error that ended it; null where none did."),
    "rows_read": ("bigint", "Rows read: those that were left out, and `searches`."),
    **{f"left_out_{reason.value}": ("bigint", text) for reason, text in _LEFT_OUT.items()},
    "searches": ("bigint", "Rows to be submitted. Null, as what is left out, where the run ended before it knew."),
    "searches_accepted": ("bigint", "Searches that the API accepted."),
    "searches_unknown": ("bigint", "Searches of which it is not known whether the API accepted them."),
    "credits_held": ("decimal", "Credits that the API holds for what it accepted."),
}

SUBMIT_RUNS: Final = log_table(
    "submit_runs",
    "One row for a run of `enrow submit` that has begun, also where it submitted nothing; none for a dry run.",
    _COLUMNS,
)


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

    def row(self, ended: SubmissionReport | Exception) -> Row:
        """Return the row of the run."""
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
        return SUBMIT_RUNS, row
