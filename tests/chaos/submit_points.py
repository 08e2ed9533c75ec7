"""Where a run of `enrow submit` is killed: from its lease to the last thing that it writes down."""

from __future__ import annotations

from enum import StrEnum


class SubmitPoint(StrEnum):
    """A point in a submission; the values are what is printed."""

    CONNECTED = "submit: connected, nothing written"
    LEASED = "submit: the lease is taken"
    INSERTED = "submit: rows of the Nth INSERT written, before COMMIT"
    INTENDED = "submit: the Nth intent is committed"
    CHECKED = "submit: the lease is checked, before the Nth POST"
    POSTED = "submit: the Nth POST is answered, before that is recorded"
    RECORDED = "submit: the Nth answer is recorded"
    RELEASED = "submit: the lease is released"


LARGEST_SUBMIT_NTH = {
    SubmitPoint.INSERTED: 6,
    SubmitPoint.INTENDED: 3,
    SubmitPoint.CHECKED: 3,
    SubmitPoint.POSTED: 3,
    SubmitPoint.RECORDED: 3,
}
"""The largest N that a run of a few batches reaches."""
