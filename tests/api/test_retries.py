"""How often a request is made again, and how long the client waits before it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from threading import Thread
from typing import Any

import pytest

from enrow_source.api.client import EnrowClient
from enrow_source.errors import BatchError, ErrorKind, RequestFailedError
from enrow_source.testing import Response, SimulatedEnrow
from tests.api.requests_made import BODY

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize("attempts", [1, 4])
def test_lasting_5xx_takes_the_configured_attempts(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    """A 5xx that does not end takes as many requests as dlt is configured for."""
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", str(attempts))
    api.respond("batch-1", Response.server_error())
    with EnrowClient(api.api_key, api.url) as client, pytest.raises(RequestFailedError):
        client.fetch_batch("batch-1")
    assert api.fetches("batch-1") == attempts


@pytest.mark.parametrize(
    "fault",
    [
        Response.rate_limited(0),
        Response.server_error(),
        Response.server_error(503),
        Response(body=BODY, truncate_after=0),
        Response(body=BODY, truncate_after=1_000),
        Response(body=BODY, reset_after=1_000),
        Response(body=BODY, stall_after=1_000),
        Response(body=BODY, delay_s=4),
    ],
    ids=["429", "500", "503", "cut before the body", "cut", "reset", "stalled", "silent"],
)
def test_a_fault_and_then_fine_is_fine(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, fault: Response) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "1")
    api.respond("batch-1", fault, BODY)
    with EnrowClient(api.api_key, api.url) as client:
        assert client.fetch_batch("batch-1").http_status == HTTPStatus.OK
    assert api.fetches("batch-1") == 2


def seconds_of(work: Callable[[], object]) -> float:
    before = time.monotonic()
    work()
    return time.monotonic() - before


TOMORROW = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
IN_THE_PAST = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "limited,waits",
    [
        (Response.rate_limited(60), True),
        (Response.rate_limited(TOMORROW), True),
        (Response(429, {"message": "Too Many Requests", "retry_after": 0.3}), True),
        (Response(503, headers={"Retry-After": "60"}), True),
        (Response.rate_limited(None), False),
        (Response.rate_limited(0), False),
        (Response.rate_limited(IN_THE_PAST), False),
        (Response.rate_limited("soon"), False),
        (Response.rate_limited("-60"), False),
    ],
    ids=[
        "seconds",
        "date",
        "body",
        "503",
        "nothing",
        "zero",
        "past date",
        "no number",
        "negative",
    ],
)
def test_pause_is_kept_up_to_the_limit(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, limited: Response, waits: bool
) -> None:
    """The pause that the API asks for is kept, up to the configured limit."""
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_RETRY_DELAY", "0.3")
    api.respond("batch-1", limited, BODY)
    with EnrowClient(api.api_key, api.url) as client:
        took = seconds_of(lambda: client.fetch_batch("batch-1"))
    assert api.fetches("batch-1") == 2
    assert (0.28 <= took < 20) if waits else took < 0.25


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def in_a_thread(client: EnrowClient, batch_id: str) -> tuple[Thread, list[Any]]:
    outcome: list[Any] = []

    def fetch() -> None:
        try:
            outcome.append(client.fetch_batch(batch_id).http_status)
        except BatchError as error:
            outcome.append(error.kind)

    thread = Thread(target=fetch, daemon=True)
    thread.start()
    return thread, outcome


def test_pause_after_429_holds_all_threads(api: SimulatedEnrow, client: EnrowClient) -> None:
    """A pause after 429 holds the other threads back."""
    api.respond("limited", Response(429, {"message": "Too Many Requests", "retry_after": 0.6}), BODY)
    api.add_completed("other", 1)
    thread, outcome = in_a_thread(client, "limited")
    until(lambda: api.fetches("limited") == 1)
    time.sleep(0.1)
    assert seconds_of(lambda: client.fetch_batch("other")) > 0.25
    thread.join(5)
    assert outcome == [200]
    assert seconds_of(lambda: client.fetch_batch("other")) < 0.25


def test_a_server_error_holds_no_other_thread_back(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.6")
    api.respond("broken", Response.server_error(), BODY)
    api.add_completed("other", 1)
    with EnrowClient(api.api_key, api.url) as client:
        thread, outcome = in_a_thread(client, "broken")
        until(lambda: api.fetches("broken") == 1)
        time.sleep(0.1)
        assert seconds_of(lambda: client.fetch_batch("other")) < 0.25
        thread.join(5)
    assert outcome == [200]


def test_closing_ends_waiting_threads(api: SimulatedEnrow) -> None:
    """Leaving the block ends waiting threads at once."""
    limited, broken = Response.rate_limited(30), Response(500, headers={"Retry-After": "30"})
    api.respond("limited", limited)
    api.respond("broken", broken)
    with EnrowClient(api.api_key, api.url) as client:
        waiting = [in_a_thread(client, "broken"), in_a_thread(client, "limited")]
        until(lambda: api.fetches("broken") + api.fetches("limited") == 2)
        held_back = in_a_thread(client, "held-back")
        time.sleep(0.1)
    left = time.monotonic()
    for thread, _ in [*waiting, held_back]:
        thread.join(5)
    assert time.monotonic() - left < 1
    assert [outcome for _, outcome in waiting] == [[ErrorKind.SERVER_ERROR], [ErrorKind.RATE_LIMITED]]
    assert not held_back[0].is_alive()
    assert (api.fetches("broken"), api.fetches("limited")) == (1, 1)
