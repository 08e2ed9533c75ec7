"""Faults of the connection, as bytes on a socket."""

import gzip
import time
from contextlib import closing, suppress

import pytest
import requests

from enrow_source.testing import Response, SimulatedEnrow
from tests.testing.calls import ask, get, received


@pytest.mark.parametrize("fault", ["truncate_after", "reset_after"])
@pytest.mark.parametrize("count", [0, 40])
def test_connection_breaks_within_the_body(api: SimulatedEnrow, fault: str, count: int) -> None:
    response = Response(body=b"x" * 100, **{fault: count})  # type: ignore[arg-type] # chosen by name
    api.respond("b", response)

    with closing(ask(api, "b")) as connection:
        head, body, ended_by = received(connection)

    assert b"Content-Length: 100" in head
    assert body == b"x" * count
    assert ended_by is (ConnectionResetError if fault == "reset_after" else None)


def test_stall_holds_until_the_client_goes(api: SimulatedEnrow) -> None:
    api.respond("b", Response(body=b"x" * 100, stall_after=10))

    with closing(ask(api, "b", timeout_s=0.2)) as connection:
        head, body, ended_by = received(connection)

    assert b"Content-Length: 100" in head
    assert body == b"x" * 10
    assert ended_by is TimeoutError


def test_stopping_ends_all_connections() -> None:
    with SimulatedEnrow() as api:
        api.respond("stalled", Response(body=b"x" * 100, stall_after=10))
        api.respond("late", Response(body=b"x", delay_s=60))
        api.respond("slow", Response(body=b"x" * 1000, drip_bytes_per_s=1))
        api.add_completed("idle", results=1)
        connections = [ask(api, batch_id) for batch_id in ("stalled", "late", "slow", "idle")]
        while len(api.requests) < 4:
            time.sleep(0.001)
        url, start = api.url, time.perf_counter()

    for connection in connections:
        with closing(connection), suppress(ConnectionResetError):
            received(connection)
    assert time.perf_counter() - start < 5
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_chunked(api: SimulatedEnrow) -> None:
    text = b"x" * 20_000
    api.respond("b", Response(body=text, chunked=True), Response(body=text, chunked=True, truncate_after=5))

    whole = get(api, "b")
    with closing(ask(api, "b")) as connection:
        _, cut, _ = received(connection)

    assert whole.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in whole.headers
    assert whole.content == text
    assert cut == b"5\r\nxxxxx\r\n"


def test_gzip(api: SimulatedEnrow) -> None:
    api.respond("b", Response(body={"a": "ü" * 500}, gzip=True))

    with closing(ask(api, "b", keep="close")) as connection:
        head, body, _ = received(connection)

    assert b"Content-Encoding: gzip" in head
    assert gzip.decompress(body).decode() == '{"a":"' + "ü" * 500 + '"}'
    assert get(api, "b").json() == {"a": "ü" * 500}


def test_drip_takes_its_time(api: SimulatedEnrow) -> None:
    api.respond("b", Response(body=b"x" * 100, drip_bytes_per_s=1000))

    start = time.perf_counter()
    answer = get(api, "b")

    assert answer.content == b"x" * 100
    assert time.perf_counter() - start >= 0.1


def test_delay_and_latency_add_up() -> None:
    with SimulatedEnrow(latency_s=0.05) as api:
        api.respond("b", Response(delay_s=0.05), Response())
        start = time.perf_counter()
        get(api, "b")
        both = time.perf_counter()
        get(api, "b")
        latency = time.perf_counter()

    assert both - start >= 0.1
    assert latency - both >= 0.05


def test_own_headers_replace_the_usual_ones(api: SimulatedEnrow) -> None:
    api.respond("b", Response(502, b"<html>", {"Content-Type": "text/html", "Date": "then", "X-Other": "1"}))

    answer = get(api, "b")

    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["Date"] == "then"
    assert answer.headers["X-Other"] == "1"
    assert answer.status_code == 502


def test_the_console_stays_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    with SimulatedEnrow() as api:
        api.respond("b", Response(body=b"x" * 10**7))
        ask(api, "b").close()
        while not api.requests:
            time.sleep(0.001)
        get(api, "unknown")

    assert capfd.readouterr() == ("", "")


def test_there_is_no_address_outside_the_with_block() -> None:
    with pytest.raises(RuntimeError, match="with block"):
        _ = SimulatedEnrow().url
