"""What a run that submits came to: as an object, as the table that a person says yes to, and as an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from .people import InvalidRow
from .plan import LeftOut, SubmissionPlan
from .protocol import EndReason, SubmissionState
from .store import Submitted


class SubmitExitCode(IntEnum):
    """How `enrow submit` ends."""

    OK = 0
    """Done."""
    FAILED = 1
    """It ended before everything was sent: the key, the credits, the API, the destination, another submitter."""
    USAGE = 2
    """Something to fix in the call, the settings, the people, the budget; nothing was sent."""
    PARTIAL = 3
    """Done, but some rows could not be submitted: the report has each with its reason."""
    INTERRUPTED = 4
    """SIGTERM: what was sent is recorded, the next run goes on."""
    UNKNOWN = 7
    """Nobody can tell what became of a submission: see `enrow submissions`."""


@dataclass(frozen=True, slots=True)
class SubmissionReport:
    """What one run of `submit` did, or would do."""

    dry_run: bool
    rows: int
    """Rows read."""
    left_out: Mapping[LeftOut, int]
    """Rows by why they are left out."""
    invalid: Sequence[InvalidRow]
    """Each row that cannot be searched, or that the API refused, with its reason."""
    searches: int
    """Rows to be submitted."""
    batches: int
    """Batches to be submitted."""
    credits_held_max: float
    """Credits that the API holds for them when it accepts."""
    credits_expected: float | None
    """Credits that remain spent, by the share found so far; None while nothing is known."""
    balance_before: float | None
    """Credits of the account before; None where the API did not say."""
    balance_after: float | None
    """Credits of the account while the batches run: computed in a dry run, else as the API reported afterwards."""
    submissions: Sequence[Submitted] = ()
    """Those of this run, as they were recorded."""
    unresolved: Sequence[Submitted] = ()
    """All of the dataset that nobody can tell about, of whatever run."""
    end: EndReason = EndReason.DONE
    unrecorded: Mapping[str, str] = field(default_factory=dict)
    """Batch ids that were accepted and could not be written down, by their submission."""
    over_budget: str | None = None
    """Why a dry run could not be done in earnest."""

    @property
    def accepted(self) -> Sequence[Submitted]:
        """The submissions of this run that the API accepted."""
        return [one for one in self.submissions if one.state == SubmissionState.ACCEPTED]

    @property
    def searches_accepted(self) -> int:
        """Searches in them."""
        return sum(one.searches for one in self.accepted)

    @property
    def credits_held(self) -> float:
        """Credits that the API holds for them, as it reported them, else as computed here."""
        return float(
            sum(one.credits_reserved if one.credits_held is None else one.credits_held for one in self.accepted)
        )

    @property
    def exit_code(self) -> SubmitExitCode:
        """What the command returns for this run: the gravest that holds."""
        if self.over_budget is not None:
            return SubmitExitCode.USAGE
        if self.unresolved or self.unrecorded or self.end is EndReason.UNKNOWN:
            return SubmitExitCode.UNKNOWN
        if self.end in (EndReason.BUSY, EndReason.LOST_LEASE, EndReason.REFUSED, EndReason.UNAVAILABLE):
            return SubmitExitCode.FAILED
        if self.end is EndReason.STOPPED:
            return SubmitExitCode.INTERRUPTED
        return SubmitExitCode.PARTIAL if self.invalid or self.end is EndReason.OVER_BUDGET else SubmitExitCode.OK

    def __str__(self) -> str:
        """Lay it out as a table."""
        numbers: list[tuple[str, float | None]] = [("rows read", self.rows)]
        numbers += [(f"left out: {_WORDS[reason]}", count) for reason, count in self.left_out.items()]
        numbers += [
            ("to be submitted", self.searches),
            ("batches", self.batches),
            ("credits held at most", self.credits_held_max),
            ("credits expected", self.credits_expected),
            ("balance before", self.balance_before),
            ("balance while they run" if self.dry_run else "balance after", self.balance_after),
        ]
        if not self.dry_run:
            numbers += [("accepted", self.searches_accepted), ("credits held", self.credits_held)]
        lines = [f"{what:<34}{_number(value):>12}" for what, value in numbers]
        lines += [str(row) for row in self.invalid[:_SHOWN]]
        if len(self.invalid) > _SHOWN:
            lines.append(f"{len(self.invalid) - _SHOWN:,} more rows that could not be submitted")
        lines += [
            f"submission {one.submission_id}: {one.state}, {one.searches:,} searches"
            + (f", batch {one.batch_id}" if one.batch_id else "")
            + (f" ({one.message})" if one.message else "")
            for one in self.submissions
        ]
        lines += [
            f"WRITE DOWN: submission {one} was accepted as batch {batch}" for one, batch in self.unrecorded.items()
        ]
        lines += [
            f"unknown: submission {one.submission_id} of {one.created_at:%Y-%m-%d %H:%M}, {one.searches:,} searches;"
            " see enrow submissions"
            for one in self.unresolved
        ]
        if self.over_budget:
            lines.append(self.over_budget)
        if self.end is not EndReason.DONE:
            lines.append(f"ended early: {_ENDS[self.end]}")
        if self.dry_run:
            is_possible = self.searches and self.over_budget is None
            how = f": to submit, give --max-credits {self.credits_held_max:.12g} in place of --dry-run"
            lines.append(f"nothing was sent and nothing was written{how if is_possible else ''}")
        return "\n".join(lines)


_SHOWN = 20
_WORDS = {
    LeftOut.INVALID: "cannot be searched",
    LeftOut.REPEATED: "in the input before",
    LeftOut.ERASED: "erased",
    LeftOut.IN_SUBMISSION: "in a submission",
    LeftOut.FOUND: "found already",
    LeftOut.NOT_FOUND: "not found recently",
    LeftOut.BEYOND_LIMIT: "beyond the limit",
}
_ENDS = {
    EndReason.BUSY: "another run is submitting to this dataset; nothing was sent",
    EndReason.LOST_LEASE: "the lease was lost; what was not sent is cancelled",
    EndReason.UNKNOWN: "it is not known whether a batch was accepted; it is not sent again by itself",
    EndReason.REFUSED: "the API takes nothing of this account",
    EndReason.UNAVAILABLE: "no connection, or the API asked to slow down; nothing of the last batch was accepted",
    EndReason.OVER_BUDGET: "the API holds more for a search than was estimated; the rest would pass what is allowed",
    EndReason.STOPPED: "it was stopped between two batches",
}


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def planned(
    plan: SubmissionPlan, balance: float | None, unresolved: Sequence[Submitted], over_budget: str | None
) -> SubmissionReport:
    """Report a dry run."""
    return SubmissionReport(
        dry_run=True,
        rows=plan.rows,
        left_out=plan.left_out,
        invalid=plan.invalid,
        searches=plan.searches,
        batches=len(plan.batches),
        credits_held_max=plan.credits_held_max,
        credits_expected=plan.credits_expected,
        balance_before=balance,
        balance_after=None if balance is None else balance - plan.credits_held_max,
        unresolved=unresolved,
        over_budget=over_budget,
    )
