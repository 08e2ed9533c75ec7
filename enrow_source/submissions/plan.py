"""What is to be submitted, what is left out and why, and what it may cost. Pure: no HTTP, no SQL, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ..errors import ConfigurationError
from ..settings import CREDITS_PER_FOUND, RETRY_NOT_FOUND_AFTER_DAYS, SEARCHES_PER_BATCH
from .people import InvalidRow, Person


class LeftOut(StrEnum):
    """Why a row is not submitted."""

    INVALID = "invalid"
    """It cannot be searched: the report has its number and the reason."""
    REPEATED = "repeated"
    """The same person stands in an earlier row."""
    ERASED = "erased"
    """The person was erased, and is never sent again."""
    IN_SUBMISSION = "in_submission"
    """The person is in a submission that is not over."""
    FOUND = "found"
    """The number was found already."""
    NOT_FOUND = "not_found"
    """The person was searched and not found, less than `retry_not_found_after_days` ago."""
    BEYOND_LIMIT = "beyond_limit"
    """`limit` other people come first."""


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """How people are submitted.

    Raises:
        ConfigurationError: A value that cannot be.
    """

    max_credits: float | None = None
    """The most credits that the API may hold for all submissions of the run; needed to submit."""
    limit: int | None = None
    """The most people to submit."""
    batch_size: int = SEARCHES_PER_BATCH
    retry_not_found_after_days: float = RETRY_NOT_FOUND_AFTER_DAYS
    refresh_found_after_days: float | None = None
    """Days after which a person who was found is searched again; None for never."""
    credits_per_found: float = CREDITS_PER_FOUND
    campaign: str | None = None
    custom: Mapping[str, Any] = field(default_factory=dict)
    """The user's own keys of the `custom` of each batch."""
    webhook: str | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        _check_number("max_credits", self.max_credits, least=0)
        _check_number("limit", self.limit, least=1)
        _check_number("batch_size", self.batch_size, least=1, most=SEARCHES_PER_BATCH)
        _check_number("retry_not_found_after_days", self.retry_not_found_after_days, least=0)
        _check_number("refresh_found_after_days", self.refresh_found_after_days, least=0)
        if not self.credits_per_found > 0:
            raise ConfigurationError(f"credits_per_found is {self.credits_per_found!r}: set it to more than 0")
        if not isinstance(self.custom, Mapping):
            raise ConfigurationError('custom is no JSON object: write one, such as {"owner": "sales"}')
        if own := {"submission", "campaign"} & set(self.custom):
            raise ConfigurationError(
                f"custom has the key {', '.join(sorted(own))}, which is ours: name a campaign with its own option"
            )
        if self.webhook is not None and not self.webhook.startswith("https://"):
            raise ConfigurationError("webhook is no https URL: the API takes no other")
        if self.campaign is not None and not self.campaign.strip():
            raise ConfigurationError("campaign is empty: name one, or leave the option out")


def _check_number(name: str, value: float | None, *, least: float, most: float | None = None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not value >= least:
        raise ConfigurationError(f"{name} is {value!r}: set it to {least} or more")
    if most is not None and value > most:
        raise ConfigurationError(f"{name} is {value!r}: set it to {most} or less")


@dataclass(slots=True)
class Attempts:
    """What is known of a person who is in the input."""

    found_at: datetime | None = None
    """The newest time that the number was found, UTC."""
    not_found_at: datetime | None = None
    """The newest time that the person was searched and not found, UTC."""
    is_pending: bool = False
    """Whether the person is in a submission that is not over."""
    is_erased: bool = False

    def add(self, at: datetime, *, is_found: bool) -> None:
        """Note one attempt."""
        if is_found:
            self.found_at = max(self.found_at or at, at)
        else:
            self.not_found_at = max(self.not_found_at or at, at)


@dataclass(slots=True)
class Intake:
    """The rows of the input: each person once, in the order given."""

    rows: int = 0
    people: dict[str, Person] = field(default_factory=dict)
    """By what stands for the person."""
    invalid: list[InvalidRow] = field(default_factory=list)
    repeated: int = 0

    @classmethod
    def of(cls, rows: Iterable[Person | InvalidRow]) -> Intake:
        """Read all rows."""
        intake = cls()
        for row in rows:
            intake.rows += 1
            if isinstance(row, InvalidRow):
                intake.invalid.append(row)
            elif row.key in intake.people:
                intake.repeated += 1
            else:
                intake.people[row.key] = row
        return intake


@dataclass(frozen=True, slots=True)
class SubmissionPlan:
    """What a run submits, if it is allowed to."""

    rows: int
    invalid: Sequence[InvalidRow]
    left_out: Mapping[LeftOut, int]
    """Rows by the reason; with the rows to be submitted they are all rows."""
    batches: Sequence[Sequence[Person]]
    credits_held_max: float
    """Credits that the API holds for all of them when it accepts."""
    credits_expected: float | None
    """Credits that remain spent, by the share found so far for each kind of search; None while nothing is known."""

    @property
    def searches(self) -> int:
        """People to be submitted."""
        return sum(map(len, self.batches))

    def check_budget(self, max_credits: float | None, balance: float | None) -> None:
        """Refuse a plan that may cost more than is allowed, or than there is.

        Raises:
            ConfigurationError: Says what is held, and what may be; nothing was sent.
        """
        if not self.searches:
            return
        held = f"{self.searches:,} searches hold {self.credits_held_max:,.12g} credits"
        if max_credits is None:
            raise ConfigurationError(f"max_credits is missing: {held}, and nothing is spent that was not allowed")
        if self.credits_held_max > max_credits:
            allow = f"allow {self.credits_held_max:,.12g}"
            raise ConfigurationError(
                f"{held}, and max_credits is {max_credits:,.12g}: {self._fewer(max_credits, allow)}"
            )
        if balance is not None and self.credits_held_max > balance:
            raise ConfigurationError(f"{held}, and the account has {balance:,.12g}: {self._fewer(balance, 'buy some')}")

    def _fewer(self, credits_: float, more: str) -> str:
        """Say how many people the credits are enough for, or what one takes."""
        each = self.credits_held_max / self.searches
        enough = int(credits_ // each)
        return f"{more}, or submit {enough:,} with limit" if enough else f"{more}; one search holds {each:,.12g}"


def make_plan(
    intake: Intake,
    attempts: Callable[[str], Attempts | None],
    shares: Mapping[str, float],
    options: SubmitOptions,
    now: datetime,
) -> SubmissionPlan:
    """Decide who is submitted.

    Args:
        intake: The rows of the input.
        attempts: What is known of a person, by the key; None for nothing.
        shares: The share found so far, from 0 to 1, for each kind of search that is known.
        options: How people are submitted.
        now: UTC.
    """
    left_out: Counter[LeftOut] = Counter({LeftOut.INVALID: len(intake.invalid), LeftOut.REPEATED: intake.repeated})
    chosen: list[Person] = []
    for key, person in intake.people.items():
        reason = _reason(attempts(key), options, now)
        if reason is None and options.limit is not None and len(chosen) >= options.limit:
            reason = LeftOut.BEYOND_LIMIT
        if reason is None:
            chosen.append(person)
        else:
            left_out[reason] += 1
    size = options.batch_size
    expected = [shares.get(person.kind) for person in chosen]
    known = [share for share in expected if share is not None]
    return SubmissionPlan(
        rows=intake.rows,
        invalid=tuple(intake.invalid),
        left_out={reason: left_out[reason] for reason in LeftOut if left_out[reason]},
        batches=tuple(chosen[at : at + size] for at in range(0, len(chosen), size)),
        credits_held_max=len(chosen) * options.credits_per_found,
        credits_expected=sum(known) * options.credits_per_found if len(known) == len(expected) else None,
    )


def _reason(known: Attempts | None, options: SubmitOptions, now: datetime) -> LeftOut | None:
    if known is None:
        return None
    if known.is_erased:
        return LeftOut.ERASED
    if known.is_pending:
        return LeftOut.IN_SUBMISSION
    if known.found_at is not None:
        days = options.refresh_found_after_days
        if days is None or known.found_at > now - timedelta(days=days):
            return LeftOut.FOUND
    retry_from = now - timedelta(days=options.retry_not_found_after_days)
    if known.not_found_at is not None and known.not_found_at > retry_from:
        return LeftOut.NOT_FOUND
    return None
