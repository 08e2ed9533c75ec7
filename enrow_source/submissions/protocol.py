"""The protocol: at most once. The steps of one submitter, as a generator that does nothing itself.

It yields each action and is sent its result, so that the same code runs against a destination and the API
(`submissions.submit`) and, in the tests, against a model in which two submitters are interleaved and killed anywhere.

For each batch: commit the intent, then check that the lease is still held, then POST once, then record. Whoever takes
the lease afterwards sees the intent and leaves its people out; whoever lost it before the check cancels. So it does
not matter when a lease is taken over, by which clock, or whether its holder was dead.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from ..api.submission import Accepted, NotAccepted, PostResult, Refused, Unclear
from ..settings import INVALID_SEARCHES_PER_BATCH, POST_ATTEMPTS
from .people import InvalidRow, Person
from .plan import SubmissionPlan


class SubmissionState(StrEnum):
    """What became of a submission; the column `state`."""

    INTENDED = "intended"
    """Committed, perhaps sent."""
    ACCEPTED = "accepted"
    """The API has it: `batch_id` names it."""
    REFUSED = "refused"
    """The API proved that it took nothing."""
    UNKNOWN = "unknown"
    """It is not known whether the API accepted it. Never sent again by itself."""
    CANCELLED = "cancelled"
    """Never sent."""

    @property
    def is_open(self) -> bool:
        """Whether it may still turn out to be accepted."""
        return self in (SubmissionState.INTENDED, SubmissionState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Submission:
    """One batch that is about to be sent."""

    submission_id: str
    people: Sequence[Person]
    credits_reserved: float


@dataclass(frozen=True, slots=True)
class SubmissionOutcome:
    """What became of one."""

    state: SubmissionState
    http_status: int | None = None
    message: str | None = None
    batch_id: str | None = None
    credits_held: float | None = None


# The actions. What each is sent back stands in its docstring. --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TakeLease:
    """Take the lease, waiting for it: whether it is held now."""


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Call every `intended` submission `unknown`, read what is known, and decide: the plan."""


@dataclass(frozen=True, slots=True)
class CommitIntent:
    """Commit the submission and its searches: nothing."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class CheckLease:
    """Renew the lease where it is still held: whether it is."""


@dataclass(frozen=True, slots=True)
class Post:
    """POST the batch, once: its `PostResult`."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class Record:
    """Write down what became of the submission, unless it is known to be accepted: nothing."""

    submission: Submission
    outcome: SubmissionOutcome


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait before the next POST, as the API asked for, or longer each time: nothing."""

    attempt: int
    retry_after_s: float | None


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """Let go of the lease where it is held: nothing."""


Action = TakeLease | MakePlan | CommitIntent | CheckLease | Post | Record | Wait | ReleaseLease
Steps = Generator[Action, Any, "ProtocolResult"]


class EndReason(StrEnum):
    """Why a run ended."""

    DONE = "done"
    """Everything that was planned was sent."""
    BUSY = "busy"
    """Another submitter holds the lease; nothing was sent."""
    LOST_LEASE = "lost_lease"
    """Another submitter has taken the lease; what was not sent is cancelled."""
    UNKNOWN = "unknown"
    """It is not known what became of a batch."""
    REFUSED = "refused"
    """The API takes nothing of this account: the key, the plan, the credits."""
    UNAVAILABLE = "unavailable"
    """No connection, or 429, after all attempts; nothing of the batch was accepted."""
    OVER_BUDGET = "over_budget"
    """The API holds more for a search than was estimated: the next batch would have passed what is allowed."""
    STOPPED = "stopped"
    """The caller said so, between two batches."""


@dataclass(slots=True)
class ProtocolResult:
    """What a run of the protocol came to."""

    end: EndReason = EndReason.DONE
    plan: SubmissionPlan | None = None
    """None where there was no lease to make one under."""
    outcomes: dict[str, tuple[Submission, SubmissionOutcome]] = field(default_factory=dict)
    """By submission, in the order they were sent."""
    invalid: list[InvalidRow] = field(default_factory=list)
    """Rows that the API refused, by the number that it named or with the whole batch."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be held in all, and what is estimated for each search."""

    max_credits: float
    credits_per_found: float


def steps(
    budget: Budget,
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    should_stop: Callable[[], bool] = lambda: False,
    post_attempts: int = POST_ATTEMPTS,
) -> Steps:
    """Submit what the plan has, at most once; see the module."""
    result = ProtocolResult()
    if not (yield TakeLease()):
        result.end = EndReason.BUSY
        return result
    result.plan = yield MakePlan()
    purse = _Purse(budget)
    waiting = [list(batch) for batch in result.plan.batches]
    tries = 0
    while waiting and result.end is EndReason.DONE:
        people = waiting.pop(0)
        if should_stop():
            result.end = EndReason.STOPPED
            break
        if not purse.allows(len(people)):
            result.end = EndReason.OVER_BUDGET
            break
        submission = Submission(new_id(), people, purse.price(len(people)))
        yield CommitIntent(submission)
        outcome = yield from _send(submission, result, post_attempts)
        yield Record(submission, outcome)
        result.outcomes[submission.submission_id] = submission, outcome
        purse.pay(submission, outcome)
        if outcome.state is SubmissionState.REFUSED and result.end is EndReason.DONE:
            named, rest = _named_by(outcome, people)
            refused, tries = [named] if named else people, tries + 1
            if named is None or tries > INVALID_SEARCHES_PER_BATCH:
                refused, rest = people, []
            result.invalid += [InvalidRow(one.row, f"the API refused it: {outcome.message}") for one in refused]
            waiting[:0] = [rest] if rest else []
        else:
            tries = 0
    yield ReleaseLease()
    return result


def _send(submission: Submission, result: ProtocolResult, attempts: int) -> Generator[Action, Any, SubmissionOutcome]:
    """POST one submission, again only where each try proved that nothing was accepted."""
    last: NotAccepted | None = None
    for attempt in range(1, attempts + 1):
        if last is not None:
            yield Wait(attempt - 1, last.retry_after_s)
        if not (yield CheckLease()):
            result.end = EndReason.LOST_LEASE
            return SubmissionOutcome(SubmissionState.CANCELLED, message="the lease was lost before this was sent")
        answer: PostResult = yield Post(submission)
        match answer:
            case Accepted(status, batch_id, held):
                return SubmissionOutcome(SubmissionState.ACCEPTED, status, None, batch_id, held)
            case Refused(status, message):
                if status in _ENDS_RUN:
                    result.end = EndReason.REFUSED
                return SubmissionOutcome(SubmissionState.REFUSED, status, message)
            case Unclear(status, message):
                result.end = EndReason.UNKNOWN
                return SubmissionOutcome(SubmissionState.UNKNOWN, status, message)
            case NotAccepted():
                last = answer
    result.end = EndReason.UNAVAILABLE
    if last is None or last.http_status is None:
        return SubmissionOutcome(SubmissionState.CANCELLED, None, last.message if last else None)
    return SubmissionOutcome(SubmissionState.REFUSED, last.http_status, last.message)


_ENDS_RUN: Final = frozenset({401, 402, 422})
"""What holds for every other batch too."""


def _named_by(outcome: SubmissionOutcome, people: Sequence[Person]) -> tuple[Person | None, list[Person]]:
    """Find the search that a 400 names, and the others: the API refuses a whole batch for one.

    The API counts from 1: `Missing mandatory property on search n°8 of 50`. None where it names none of these.
    """
    found = re.search(r"search n\D{0,3}(\d+) of (\d+)", outcome.message or "", re.IGNORECASE)
    if found is None or int(found[2]) != len(people) or not 1 <= int(found[1]) <= len(people):
        return None, list(people)
    at = int(found[1]) - 1
    return people[at], [*people[:at], *people[at + 1 :]]


class _Purse:
    """What is held so far; what the API really holds for a search is learned from its answers."""

    def __init__(self, budget: Budget) -> None:
        self._left = budget.max_credits
        self._each = budget.credits_per_found

    def price(self, searches: int) -> float:
        return self._each * searches

    def allows(self, searches: int) -> bool:
        return self.price(searches) <= self._left

    def pay(self, submission: Submission, outcome: SubmissionOutcome) -> None:
        """Take what is held, or may be; a price that is higher than was estimated holds from then on."""
        if outcome.state is SubmissionState.ACCEPTED or outcome.state.is_open:
            held = submission.credits_reserved if outcome.credits_held is None else outcome.credits_held
            self._left -= max(held, 0.0)
            self._each = max(self._each, held / len(submission.people))
