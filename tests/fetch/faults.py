"""What the tests of HTTP faults share."""

import gzip
from collections.abc import Callable

from enrow_source.testing import Response, bodies
from enrow_source.testing.batches import Script
from enrow_source.testing.responses import encoded
from tests.support import faults_page
from tests.support.faults_page import Outcome, Seen

ATTEMPTS = 2
TIMEOUT_S = 1.5
LONGEST_WAIT_S = 1.1
RESULTS = 2


def answer(batch_id: str, *, gzipped: bool = False) -> bytes:
    """Return the body of a batch that loads."""
    body = encoded(bodies.completed(batch_id, RESULTS))
    return gzip.compress(body, mtime=0) if gzipped else body


def is_loaded(outcome: Outcome) -> bool:
    return (len(outcome.batches), len(outcome.stats), len(outcome.results), outcome.errors) == (1, 1, RESULTS, [])


def message(what: str, outcome: Outcome, requests: int, later: str = "", tells: str = "") -> Seen:
    times = "1 request" if requests == 1 else f"{requests} requests"
    if is_loaded(outcome):
        return Seen(what, f"loaded it with {times}{later}", f"`phone_results`: {len(outcome.results)} rows")
    return Seen(what, f"went on without it after {times}{later}", faults_page.shown_error(outcome, tells))


def refused(note: Script, refusal: Callable[[], Response], look: int) -> Response:
    assert callable(note)
    note(look)
    return refusal()
