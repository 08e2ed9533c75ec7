"""What the tests of HTTP faults share."""

import gzip
from collections.abc import Callable

from enrow_source.testing import Response, bodies
from enrow_source.testing.batches import Script
from enrow_source.testing.responses import encoded
from tests.support import faults_page
from tests.support.faults_page import BatchRows, Seen

ATTEMPTS = 2
TIMEOUT_S = 1.5
LONGEST_WAIT_S = 1.1
RESULTS = 2


def answer(batch_id: str, *, gzipped: bool = False) -> bytes:
    """Return the body of a batch that loads."""
    body = encoded(bodies.completed(batch_id, RESULTS))
    return gzip.compress(body, mtime=0) if gzipped else body


def is_loaded(seen: BatchRows) -> bool:
    return (len(seen.batches), len(seen.stats), len(seen.results), seen.errors) == (
        1,
        1,
        RESULTS,
        [],
    )


def message(what: str, seen: BatchRows, requests: int, later: str = "", says: str = "") -> Seen:
    times = "1 request" if requests == 1 else f"{requests} requests"
    if is_loaded(seen):
        return Seen(what, f"loaded it with {times}{later}", f"`phone_results`: {len(seen.results)} rows")
    return Seen(what, f"went on without it after {times}{later}", faults_page.shown_error(seen, says))


def refused(note: Script, refusal: Callable[[], Response], fetch: int) -> Response:
    assert callable(note)
    note(fetch)
    return refusal()
