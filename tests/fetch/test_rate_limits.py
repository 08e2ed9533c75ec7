"""429: the pause that the API asks for, and the whole run that slows down."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import pytest

from enrow_source.testing import Response, SimulatedEnrow
from enrow_source.testing.batches import Script
from tests.conftest import Load
from tests.fetch.faults import ATTEMPTS, LONGEST_WAIT_S, RESULTS, answer, is_loaded, message, refused
from tests.support import faults_page
from tests.support.faults_page import Seen, batch_rows
from tests.support.warehouse import Warehouse

pytestmark = pytest.mark.usefixtures("quick")


class Arrivals:
    """Notes when each request for a batch came in."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def recorded(self, batch_id: str, *script: Response | bytes) -> list[Script]:
        """Make answers that note when they are asked for."""
        times = self.times.setdefault(batch_id, [])

        def answer_it(response: Response | bytes, _: int) -> Response | bytes:
            times.append(time.monotonic())
            return response

        return [partial(answer_it, response) for response in script]

    @property
    def all(self) -> list[float]:
        return sorted(moment for times in self.times.values() for moment in times)


def in_two_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


@dataclass(frozen=True)
class Pause:
    """How a 429 asks for a pause, and the seconds until the next request, at least and at most."""

    what: str
    refusal: Callable[[], Response]
    at_least_s: float
    at_most_s: float


SLACK_S = 0.6
"""What a busy machine may take between two requests."""


PAUSES = [
    Pause("429 with `Retry-After: 1`", lambda: Response.rate_limited(1), 1.0, 1.1),
    Pause("429 with a date, 2 seconds ahead", lambda: Response.rate_limited(in_two_seconds()), 0.8, LONGEST_WAIT_S),
    Pause(
        "429 with a date that has passed",
        lambda: Response.rate_limited("Wed, 01 Jan 2025 00:00:00 GMT"),
        0.0,
        0.0,
    ),
    Pause(
        "429 with a date that no calendar has",
        lambda: Response.rate_limited("Mon, 01 Jan 99999999999999999999 00:00:00 GMT"),
        0.0,
        0.1,
    ),
    Pause("429 with `Retry-After: 0`", lambda: Response.rate_limited(0), 0.0, 0.0),
    Pause("429 with a `Retry-After` of a year", lambda: Response.rate_limited(31_536_000), 1.1, LONGEST_WAIT_S),
    Pause(
        "429 with `retry_after` 1 in the body alone",
        lambda: Response(429, {"message": "Too Many Requests", "retry_after": 1}),
        1.0,
        1.1,
    ),
    Pause("429 with `Retry-After: soon`", lambda: Response.rate_limited("soon"), 0.0, 0.1),
    Pause("429 that asks for nothing", lambda: Response.rate_limited(None), 0.0, 0.1),
]


def test_a_429_is_asked_again_when_the_api_says(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> None:
    arrivals = Arrivals()
    batches = {f"paused-{number}": pause for number, pause in enumerate(PAUSES)}
    for batch_id, pause in batches.items():
        # A date counts from the moment when it is sent, so each 429 is made then.
        first, second = arrivals.recorded(batch_id, b"", answer(batch_id))
        api.respond(batch_id, partial(refused, first, pause.refusal), second)
    api.respond("for-ever", Response.rate_limited(0))
    # One connection, or the pause of one batch would be that of all.
    report = load([*batches, "for-ever", api.add_completed("healthy", RESULTS)], connections=1)

    assert (report.completed, report.unreadable) == (len(batches) + 1, 1)
    assert (api.fetches("for-ever"), api.fetches("healthy")) == (ATTEMPTS, 1)
    seen = batch_rows(warehouse)
    assert seen["for-ever"].error == ("rate_limited", 429, "Too Many Requests")
    rows = []
    for batch_id, pause in batches.items():
        assert is_loaded(seen[batch_id])
        first_at, second_at = arrivals.times[batch_id]
        assert pause.at_least_s <= second_at - first_at <= pause.at_most_s + SLACK_S, pause.what
        later = f", {pause.at_most_s:g} s apart" if pause.at_least_s else ", at once"
        rows.append(message(pause.what, seen[batch_id], len(arrivals.times[batch_id]), later))
    rows.append(message("429 forever", seen["for-ever"], api.fetches("for-ever")))
    faults_page.check("When the API says 429", rows)


def test_a_429_slows_the_whole_run_down(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> None:
    rows = [one_429(api, load), a_storm_of_429(api, load)]
    assert all(is_loaded(rows_of_batch) for rows_of_batch in batch_rows(warehouse).values())
    faults_page.check("A 429 is for the whole run", rows)


def one_429(api: SimulatedEnrow, load: Load) -> Seen:
    """Run into one 429 between batches that load."""
    arrivals, count, connections = Arrivals(), 60, 4
    for number in range(count):
        batch_id = f"one-{number:02}"
        healthy = Response(body=answer(batch_id), delay_s=0.03)
        refusals = [Response.rate_limited(1)] if number == count // 3 else []
        api.respond(batch_id, *arrivals.recorded(batch_id, *refusals, healthy))
    report = load(list(arrivals.times), connections=connections)

    assert (report.completed, report.unreadable) == (count, 0)
    assert [len(times) for times in arrivals.times.values()] == [1] * 20 + [2] + [1] * 39
    refused_at, asked_again_at = arrivals.times["one-20"]
    assert 1.0 <= asked_again_at - refused_at < 1.1 + SLACK_S
    # What was on its way at that moment still arrives; then there is silence, from all connections.
    after = [moment - refused_at for moment in arrivals.all if moment > refused_at]
    assert len([moment for moment in after if moment < 0.95]) < 2 * connections
    silence = [moment for moment in after if 0.3 < moment < 0.95]
    assert not silence
    assert len([moment for moment in after if moment >= 0.95]) > count // 3
    return Seen(
        f"one 429 with `Retry-After: 1`, {count} batches, {connections} connections",
        f"what was on its way arrived, then {len(silence)} requests until the second was over;"
        f" loaded {report.completed} batches",
        f"exit code {report.exit_code}",
    )


def a_storm_of_429(api: SimulatedEnrow, load: Load) -> Seen:
    """Run into an API that answers nothing else for a second."""
    times: list[float] = []
    connections, ids = 8, [f"storm-{number:02}" for number in range(60)]

    def in_the_storm(batch_id: str, fetch: int) -> Response:
        assert fetch < ATTEMPTS
        times.append(now := time.monotonic())
        is_over = now - times[0] > 0.9
        return Response(body=answer(batch_id)) if is_over else Response.rate_limited(1)

    for batch_id in ids:
        api.respond(batch_id, partial(in_the_storm, batch_id))
    report = load(ids, connections=connections)

    assert (report.completed, report.unreadable) == (len(ids), 0)
    # Each connection met the storm once, at its start, and no other request was made before it was over.
    during = [moment for moment in times if moment - times[0] < 0.9]
    assert len(during) <= connections
    assert len(times) == len(ids) + len(during)
    return Seen(
        f"429 with `Retry-After: 1` for whatever is asked in a second, {len(ids)} batches, {connections} connections",
        f"at most {connections} requests in that second; loaded {report.completed} batches",
        f"exit code {report.exit_code}",
    )
