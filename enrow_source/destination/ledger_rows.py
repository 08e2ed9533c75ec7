"""Rows of the ledger statement: what is known of each batch, in one column of flags and a few times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from .sql import utc

HAS_RESULTS: Final = 2
IS_UNFINISHED: Final = 4
HAS_NO_LOADS: Final = 8
IS_GIVEN_UP: Final = 16
UNKNOWN_ANSWER: Final = 32
"""Added to the flag of a pending batch, so that all flags, and a count, come in one column."""

IS_BEGUN: Final = -2
"""The flags of a load that has begun and is not complete."""

IS_ERASURE: Final = -2_000_000_000
"""The flags of a load that wrote down an erasure."""

IS_LOADED: Final = -1
"""The flags of a deferred batch that is loaded for good; of one that was not deferred they are null."""

FINAL_ROWS: Final = -3
"""The flags of a table, less the number of its rows that are loaded for good."""


class Row(NamedTuple):
    """What the ledger has of one batch that is not loaded for good, or was deferred."""

    batch_id: str
    is_loaded: bool
    """Whether it was deferred, and is loaded for good by now."""
    is_pending: bool = False
    has_results: bool = False
    is_unfinished: bool = False
    has_no_loads: bool = False
    """Whether it is under a load that is unknown, and no load at all is known."""
    last_fetched_at: datetime | None = None
    first_seen: datetime | None = None
    is_given_up: bool = False
    unknown_answers: int | None = None
    has_failed: bool = False
    deferred_at: datetime | None = None
    is_begun: bool = False
    """Whether it is no batch, but a load that has begun and is not complete."""
    is_erasure: bool = False
    """Whether it is no batch, but a load that wrote down an erasure."""
    final_rows: int | None = None
    """Where it is no batch, but a table: its rows that are loaded for good."""


def as_row(values: Sequence[Any]) -> Row | str:
    """Read a row of the statement: of a batch that is loaded for good, and was not deferred, the id alone."""
    batch_id, flags, last_fetched_at, first_seen, last_failed_at, deferred_at = values
    if flags is None:
        return str(batch_id)
    flag = int(flags)
    if flag == IS_LOADED:
        return Row(batch_id, is_loaded=True)
    if flag == IS_BEGUN:
        return Row(batch_id, is_loaded=False, is_begun=True)
    if flag == IS_ERASURE:
        return Row(batch_id, is_loaded=False, is_erasure=True)
    if flag <= FINAL_ROWS:
        return Row(batch_id, is_loaded=False, final_rows=FINAL_ROWS - flag)
    answers = flag // UNKNOWN_ANSWER  # one more than there were, where the id is deferred
    return Row(
        batch_id,
        is_loaded=False,
        is_pending=bool(flag & 1),
        has_results=bool(flag & HAS_RESULTS),
        is_unfinished=bool(flag & (IS_UNFINISHED | HAS_NO_LOADS)),
        has_no_loads=bool(flag & HAS_NO_LOADS),
        last_fetched_at=utc(last_fetched_at),
        first_seen=utc(first_seen),
        is_given_up=bool(flag & IS_GIVEN_UP),
        unknown_answers=answers - 1 if answers else None,
        has_failed=last_failed_at is not None and last_failed_at == last_fetched_at,
        deferred_at=utc(deferred_at),
    )
