"""Where a run is killed: named points from its first request to the last file that it moves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .submit_points import SubmitPoint


class Point(StrEnum):
    """A point in a run; the values are what is printed."""

    CLOCK = "clock: after a random time"
    GIVING_UP = "start: giving up a load that was killed: that is noted, nothing moved"
    GIVING_UP_JOBS = "start: giving up a load that was killed: its jobs moved, not its package"
    GIVEN_UP = "start: giving up a load that was killed: put away, before the state is restored"
    ANSWERED = "extract: after the Nth answer"
    EXTRACTED = "extract: before it is committed"
    NORMALISED_FILE = "normalise: after the Nth file"
    NORMALISED = "normalise: before it is committed"
    NORMALISED_TWICE = "normalise: committed, before the extracted files are deleted"
    BEGUN = "load: written down as begun, before its tables are created"
    MIGRATED = "load: tables created, before that is noted"
    COPIED = "load: Nth job committed, before that is noted"
    STAGED = "load: copy of phone_results committed, before that is noted"
    NOTED = "load: Nth job committed and noted"
    FOLLOWED = "load: merge of the Nth table written down, before its copy is put away"
    PUT_AWAY = "load: Nth job put away"
    MERGING = "load: before the merge of the Nth table"
    UNCOMMITTED = "load: Nth transaction (tables or a merge), before its COMMIT"
    MERGED = "load: between the merges of two tables"
    COMPLETING = "load: before the row in _dlt_loads"
    COMPLETED = "load: after the row in _dlt_loads"
    CLOSING = "load: before the package is put away"
    CLOSED = "load: after the package is put away"


@dataclass(frozen=True, slots=True)
class Kill:
    """When a run is killed."""

    point: Point | SubmitPoint
    nth: int = 1
    """How often the point is reached; from 1."""
    after_s: float = 0.0
    """CLOCK alone: seconds after its first step began."""

    def __str__(self) -> str:
        """Show it in one line."""
        return f"{self.point} ({self.after_s:.2f} s)" if self.point is Point.CLOCK else f"{self.point} (N={self.nth})"


LARGEST_NTH = {
    Point.ANSWERED: 8,
    Point.NORMALISED_FILE: 4,
    Point.COPIED: 8,
    Point.NOTED: 8,
    Point.FOLLOWED: 4,
    Point.PUT_AWAY: 8,
    Point.MERGING: 4,
    Point.UNCOMMITTED: 6,
    Point.MERGED: 3,
}
"""The largest N that a run of a few batches reaches, of the points that have one: 5 tables, a copy and a merge each."""
