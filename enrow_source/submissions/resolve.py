"""What a person does about submissions: list them, and decide about those that are unknown."""

from __future__ import annotations

from datetime import UTC, datetime

import dlt

from ..destination.load_lock import held_database
from ..errors import ConfigurationError
from ..settings import LEASE_WAIT_S
from ..tables.schema import SUBMISSIONS
from .accepted import RESOLVED_BY_HAND
from .lease import is_dead, read_lease
from .protocol import SubmissionOutcome, SubmissionState
from .store import Store, Submitted


def has_submissions(pipeline: dlt.Pipeline) -> bool:
    """Return whether somebody has submitted to a dataset; True where that cannot be read now, as while one submits."""
    try:
        store = Store(pipeline)
        if store.is_missing:
            return False
        with held_database(pipeline, 0.0), store:
            return store.has(SUBMISSIONS.name)
    except ConfigurationError:
        return False  # files, which nobody submits to
    except Exception:  # noqa: BLE001 - the run that follows waits for it, or says what is wrong in its own words
        return True


def list_submissions(pipeline: dlt.Pipeline) -> list[Submitted]:
    """Return all submissions of a dataset, the oldest first; none where nobody has submitted.

    Raises:
        BusyError: Another run is at work in a file of DuckDB.
        ConfigurationError: The destination cannot have any.
    """
    store = Store(pipeline)
    if store.is_missing:
        return []
    with held_database(pipeline, LEASE_WAIT_S), store:
        return store.submissions() if store.has(SUBMISSIONS.name) else []


def resolve_submission(pipeline: dlt.Pipeline, submission_id: str, *, batch_id: str | None = None) -> Submitted:
    """Decide what became of an `unknown` submission, or of an `intended` one whose run has died.

    The batch of a submission that was resolved by hand can be named again, where the first one was wrong.

    Args:
        pipeline: Names destination and dataset.
        submission_id: The submission.
        batch_id: The batch that it became, which `enrow run` loads from then on; None where it was not accepted: its
            people may be submitted again.

    Returns:
        The submission as it is now.

    Raises:
        BusyError: Another run is at work in a file of DuckDB.
        ConfigurationError: There is no such submission, it is not unknown, or a run may still be sending it.
    """
    batch_id = None if batch_id is None else batch_id.strip()
    if batch_id is not None and (not batch_id or not batch_id.isprintable() or " " in batch_id):
        raise ConfigurationError(f"the batch id is {batch_id!r:.80}: name the one that the API gave it")
    with held_database(pipeline, LEASE_WAIT_S, creates=False), Store(pipeline) as store:
        known = _find(store, submission_id)
        is_corrected = known.message == RESOLVED_BY_HAND and batch_id not in (None, known.batch_id)
        if not SubmissionState(known.state).is_open and not is_corrected:
            batch = f", batch {known.batch_id}" if known.batch_id else ""
            raise ConfigurationError(f"submission {submission_id} is {known.state}{batch}: there is nothing to resolve")
        held = read_lease(store)
        if known.state == SubmissionState.INTENDED and held and held[1] > datetime.now(UTC) and not is_dead(held[0]):
            raise ConfigurationError(
                f"submission {submission_id} may be on its way: {held[0]} is submitting until {held[1]:%H:%M:%S} UTC;"
                " wait for its end"
            )
        others = [one.submission_id for one in store.submissions() if batch_id is not None and one.batch_id == batch_id]
        if others:
            raise ConfigurationError(
                f"batch {batch_id} is that of submission {others[0]}: each submission became a batch of its own"
            )
        message = RESOLVED_BY_HAND
        if batch_id is None:
            outcome = SubmissionOutcome(SubmissionState.REFUSED, known.http_status, f"{message}: not accepted")
        else:
            outcome = SubmissionOutcome(SubmissionState.ACCEPTED, known.http_status, message, batch_id)
        store.set_outcome(submission_id, outcome)
        return _find(store, submission_id)


def _find(store: Store, submission_id: str) -> Submitted:
    known = store.submissions() if store.has(SUBMISSIONS.name) else []
    for one in known:
        if one.submission_id == submission_id.strip():
            return one
    open_ones = [one.submission_id for one in known if SubmissionState(one.state).is_open]
    advice = f"unknown are {', '.join(open_ones[:5])}" if open_ones else "none is unknown"
    raise ConfigurationError(f"there is no submission {submission_id!r:.80} in this dataset: {advice}")
