"""Ends a run of `enrow submit` at a point: wraps the methods that it passes there. Imported in its process alone."""

from __future__ import annotations

import os
from typing import Final

from enrow_source.api.submission import SubmissionClient
from enrow_source.submissions.lease import Lease
from enrow_source.submissions.store import Store

from .hooks import Hook, wrap
from .submit_points import SubmitPoint

SUBMIT_HOOKS: Final = {
    SubmitPoint.CONNECTED: Hook("after", "__enter__", Store),
    SubmitPoint.LEASED: Hook("after", "take", Lease),
    SubmitPoint.INSERTED: Hook("after", "insert", Store),
    SubmitPoint.INTENDED: Hook("after", "commit_intent", Store),
    SubmitPoint.CHECKED: Hook("after", "renew", Lease),
    SubmitPoint.POSTED: Hook("after", "post_batch", SubmissionClient),
    SubmitPoint.RECORDED: Hook("after", "record", Store),
    SubmitPoint.RELEASED: Hook("after", "release", Lease),
}


def note_submission(file: int) -> None:
    """Write down that it has begun, so that the clock of a kill starts then."""
    wrap(Store, "__enter__", "before", lambda _: os.write(file, b"submit\n"))
