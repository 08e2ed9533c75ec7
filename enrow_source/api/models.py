"""The response of `GET /phone/bulk` as types: https://enrow.readme.io."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

Text = str | None


class BatchStatus(StrEnum):
    """State of a batch; the values are the API's words."""

    ONGOING = "ongoing"
    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """A word that the documentation does not have: fetched again, never taken for done."""

    @classmethod
    def of(cls, word: str) -> BatchStatus:
        """Return the status for the API's `word`; UNKNOWN for one it does not document."""
        return cls(word) if word in _STATUS_WORDS else cls.UNKNOWN

    @property
    def is_terminal(self) -> bool:
        """Whether the batch will not change any more."""
        return self in (BatchStatus.COMPLETED, BatchStatus.FAILED)


_STATUS_WORDS: Final = {status.value for status in BatchStatus} - {"unknown"}


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts and credits of a batch as the API claims them; None where it says nothing."""

    requested: int | None = None
    finished: int | None = None
    found: int | None = None
    credits_cost: Decimal | None = None
    credits_to_refund: Decimal | None = None
    unknown: dict[str, Text] = field(default_factory=dict)
    """Undocumented fields of `stats`, as text."""


@dataclass(frozen=True, slots=True)
class Results:
    """The searches of a batch, as columns of equal length: one value for each search, None where it has none."""

    count: int = 0
    found: int = 0
    """Results that are qualified `found`."""
    index: list[int | None] = field(default_factory=list)
    """Position in the submitted array, from 0."""
    fields: dict[str, list[Text]] = field(default_factory=dict)
    """`qualification`, `number`, `country`, `custom` (JSON text) and every undocumented field, as text."""
    params: dict[str, list[Text]] = field(default_factory=dict)
    """The submitted search, a column for each key, as text."""
    overflow_fields: dict[int, dict[str, str]] = field(default_factory=dict)
    """Undocumented fields by row and key, past as many as a table may have columns for."""
    overflow_params: dict[int, dict[str, str]] = field(default_factory=dict)
    """As `overflow_fields`, of the submitted search."""

    def without_rows(self) -> Results:
        """Keep the counts alone."""
        return Results(self.count, self.found)


@dataclass(frozen=True, slots=True)
class Batch:
    """One answer of `GET /phone/bulk`."""

    batch_id: str
    status: str
    """The API's word."""
    custom: Text
    """What was sent with the batch, as JSON text."""
    stats: Stats
    results: Results
    unknown: dict[str, Text] = field(default_factory=dict)
    """Undocumented fields of `general`, as text."""
    undocumented_top: dict[str, Text] = field(default_factory=dict)
    """Undocumented fields beside `general`, as text."""
    invalid_stats: tuple[str, ...] = ()
    """What was wrong with values of `stats` that are None for it: they cost themselves, never the results."""

    @property
    def known_status(self) -> BatchStatus:
        """The status; UNKNOWN for a word that the API does not document."""
        return BatchStatus.of(self.status)

    @property
    def is_completed(self) -> bool:
        """Whether its results are final."""
        return self.known_status is BatchStatus.COMPLETED

    @property
    def is_terminal(self) -> bool:
        """Whether the batch will not change any more."""
        return self.known_status.is_terminal
