"""The client over real sockets: what it sends, what each answer becomes, how often it asks, and where the key goes."""

import socket
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from enrow_source import ConfigurationError, EnrowError, InvalidApiKeyError, OutOfCreditsError
from enrow_source.api.client import EnrowClient
from enrow_source.errors import BatchError, ErrorKind, RequestFailedError
from enrow_source.testing import Response, SimulatedEnrow, bodies

BODY = bodies.completed("batch-1", 40)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "3")
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "0.25")


@pytest.fixture
def client(api: SimulatedEnrow) -> Iterator[EnrowClient]:
    with EnrowClient(api.api_key, api.url) as running:
        yield running


def everything_told_by(error: BaseException) -> str:
    """Return all that a log could hold of the error: its chain, with the local variables of every frame."""
    message = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    errors: list[BaseException | None] = [error]
    while (last := errors[-1]) is not None:
        message += f"{last!s} {last!r} {vars(last)} {last.args!r}"
        errors.append(last.__cause__ or last.__context__)
    return message


# What is sent --------------------------------------------------------------------------------------------------------


def test_a_fetch_is_one_get_with_the_key_and_nothing_else_that_identifies(
    api: SimulatedEnrow, client: EnrowClient
) -> None:
    api.add_completed("batch-1", 3)
    client.fetch_batch("batch-1")
    (request,) = api.requests
    assert (request.method, request.path, request.query) == ("GET", "/phone/bulk", "id=batch-1")
    assert request.headers["x-api-key"] == api.api_key
    assert not request.headers.keys() & {"authorization", "cookie", "proxy-authorization"}


def test_a_password_in_netrc_is_not_sent(
    api: SimulatedEnrow, client: EnrowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    requests.get(f"{api.url}/phone/bulk?id=batch-1", timeout=5)
    with pytest.raises(RequestFailedError):
        client.fetch_batch("batch-1")
    assert ["authorization" in request.headers for request in api.requests] == [True, False]


IDS = [
    "x' OR 1=1 --",
    "../",
    "../../account/info",
    "a&id=b",
    "a=b;c#d?e",
    "%00",
    "a%2Fb",
    "a b",
    "a+b",
    "ünïcode-Größe-日本-😀",
    "a\nb",
    "a\r\nx-api-key: other",
    "a\tb",
    "a\x00b",
    "http://example.com/",
    "${jndi:ldap://x}",
    "x" * 4_000,
]


@pytest.mark.parametrize("batch_id", IDS, ids=[batch_id[:20].encode("unicode_escape").decode() for batch_id in IDS])
def test_the_server_receives_the_id_as_it_is(api: SimulatedEnrow, client: EnrowClient, batch_id: str) -> None:
    api.respond(batch_id, BODY)
    client.fetch_batch(batch_id)
    (request,) = api.requests
    assert (request.path, request.batch_id) == ("/phone/bulk", batch_id)
    assert (request.query.count("&"), request.headers["x-api-key"]) == (0, api.api_key)


def test_a_proxy_gets_neither_key_nor_request_for_a_loopback_address(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SimulatedEnrow() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name)
        with EnrowClient(api.api_key, api.url) as client, pytest.raises(RequestFailedError):
            client.fetch_batch("batch-1")
    assert (len(api.requests), proxy.requests) == (1, [])


# What each answer becomes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202])
def test_200_and_202_are_answers(api: SimulatedEnrow, client: EnrowClient, status: int) -> None:
    api.respond("batch-1", Response(status, b'{"any": "bytes"}'))
    before = datetime.now(UTC)
    answer = client.fetch_batch("batch-1")
    assert (answer.http_status, answer.body) == (status, b'{"any": "bytes"}')
    assert before <= answer.fetched_at <= datetime.now(UTC)
    assert answer.fetched_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "response",
    [
        Response(body=BODY, gzip=True),
        Response(body=BODY, chunked=True),
        Response(body=BODY, gzip=True, chunked=True),
        Response(body=BODY, drip_bytes_per_s=60_000),
    ],
    ids=["gzip", "chunked", "gzip chunked", "slow"],
)
def test_a_body_is_the_same_however_it_is_sent(api: SimulatedEnrow, client: EnrowClient, response: Response) -> None:
    api.respond("batch-1", Response(body=BODY), response)
    assert client.fetch_batch("batch-1").body == client.fetch_batch("batch-1").body
    assert api.looks("batch-1") == 2


REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize(
    "response,expected,looks",
    [
        (Response.missing_id(), (ErrorKind.NOT_READABLE, 400, "Missing id in the query params"), 1),
        (Response.unreadable(), (ErrorKind.NOT_READABLE, 400, "Could not retrieve bulk search results"), 1),
        (Response.not_found(), (ErrorKind.NOT_READABLE, 404, "Bulk search not found"), 1),
        (Response(404, b"<html>"), (ErrorKind.NOT_READABLE, 404, "Not Found"), 1),
        (Response(403), (ErrorKind.UNEXPECTED_STATUS, 403, "Forbidden"), 1),
        (Response(409, {"message": "busy"}), (ErrorKind.UNEXPECTED_STATUS, 409, "busy"), 1),
        (Response(204), (ErrorKind.UNEXPECTED_STATUS, 204, "No Content"), 1),
        (Response(304), (ErrorKind.REDIRECT, 304, "the API answered with a redirect; not followed"), 1),
        (Response.rate_limited(0), (ErrorKind.RATE_LIMITED, 429, "Too Many Requests"), 3),
        (Response.server_error(500), (ErrorKind.SERVER_ERROR, 500, "Internal server error"), 3),
        (Response(502, b"<html>"), (ErrorKind.SERVER_ERROR, 502, "Bad Gateway"), 3),
        (Response(503, b"[1, 2]"), (ErrorKind.SERVER_ERROR, 503, "Service Unavailable"), 3),
        (Response(504, b"\xff\x00"), (ErrorKind.SERVER_ERROR, 504, "Gateway Timeout"), 3),
    ],
)
def test_a_status_becomes_an_error_of_one_kind_after_so_many_requests(
    api: SimulatedEnrow, client: EnrowClient, response: Response, expected: tuple[ErrorKind, int, str], looks: int
) -> None:
    api.respond("batch-1", response)
    with pytest.raises(RequestFailedError) as caught:
        client.fetch_batch("batch-1")
    error = caught.value
    assert ((error.kind, error.http_status, error.message), api.looks("batch-1")) == (expected, looks)


def test_401_and_402_concern_the_run_and_are_not_tried_again(api: SimulatedEnrow, client: EnrowClient) -> None:
    api.respond("batch-1", Response.bad_key(), Response.out_of_credits())
    with pytest.raises(InvalidApiKeyError) as refused:
        client.fetch_batch("batch-1")
    with pytest.raises(OutOfCreditsError, match="out of credits"):
        client.fetch_batch("batch-1")
    assert "This apikey is not valid" in str(refused.value)
    assert "ENROW_API_KEY" in str(refused.value)
    assert api.looks("batch-1") == 2


@pytest.mark.parametrize("attempts", [1, 4])
def test_5xx_for_ever_takes_as_many_requests_as_dlt_is_set_to(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", str(attempts))
    api.respond("batch-1", Response.server_error())
    with EnrowClient(api.api_key, api.url) as client, pytest.raises(RequestFailedError):
        client.fetch_batch("batch-1")
    assert api.looks("batch-1") == attempts


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
        Response(body=BODY, delay_s=0.5),
    ],
    ids=["429", "500", "503", "cut before the body", "cut", "reset", "stalled", "silent"],
)
def test_a_fault_and_then_fine_is_fine(api: SimulatedEnrow, client: EnrowClient, fault: Response) -> None:
    api.respond("batch-1", fault, BODY)
    assert client.fetch_batch("batch-1").http_status == HTTPStatus.OK
    assert api.looks("batch-1") == 2


@pytest.mark.parametrize(
    "fault",
    [
        Response(body=BODY, truncate_after=100),
        Response(body=BODY, truncate_after=100, chunked=True),
        Response(body=BODY, truncate_after=100, gzip=True),
        Response(body=BODY, truncate_after=100, gzip=True, chunked=True),
        Response(body=BODY, reset_after=100),
        Response(body=BODY, stall_after=100),
        Response(body=BODY, drip_bytes_per_s=20),
        Response(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
        Response(body=BODY, delay_s=5),
    ],
    ids=["cut", "cut chunked", "cut gzip", "cut both", "reset", "stalled", "dripping", "not gzip", "silent"],
)
def test_a_body_that_never_is_complete_is_a_connection_error_in_bounded_time(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, fault: Response
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "0.15")
    api.respond("batch-1", fault)
    before = time.monotonic()
    with EnrowClient(api.api_key, api.url) as client, pytest.raises(RequestFailedError) as caught:
        client.fetch_batch("batch-1")
    assert (caught.value.kind, caught.value.http_status, api.looks("batch-1")) == (ErrorKind.CONNECTION, None, 1)
    assert time.monotonic() - before < 2
    message = everything_told_by(caught.value)
    assert api.api_key not in message


def test_a_refused_connection_is_a_connection_error(api: SimulatedEnrow) -> None:
    with SimulatedEnrow() as gone:
        url = gone.url
    with EnrowClient(api.api_key, url) as client, pytest.raises(RequestFailedError, match="refused") as caught:
        client.fetch_batch("batch-1")
    assert (caught.value.kind, caught.value.http_status) == (ErrorKind.CONNECTION, None)
    message = everything_told_by(caught.value)
    assert api.api_key not in message


@pytest.mark.parametrize("gzip", [False, True])
def test_a_body_past_the_limit_is_an_error_and_is_not_tried_again(api: SimulatedEnrow, gzip: bool) -> None:
    api.respond("batch-1", Response(body=b" " * 2_000_000, gzip=gzip))
    client = EnrowClient(api.api_key, api.url, max_response_mb=1)
    with client, pytest.raises(RequestFailedError, match="larger than max_response_mb, 1") as caught:
        client.fetch_batch("batch-1")
    assert (caught.value.kind, caught.value.http_status, api.looks("batch-1")) == (ErrorKind.TOO_LARGE, 200, 1)


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_is_not_followed(api: SimulatedEnrow, client: EnrowClient, status: int) -> None:
    with SimulatedEnrow(api_key=api.api_key) as other:
        other.add_completed("batch-1", 3)
        api.respond("batch-1", Response.redirect(f"{other.url}/phone/bulk?id=batch-1", status))
        with pytest.raises(RequestFailedError) as caught:
            client.fetch_batch("batch-1")
    assert (caught.value.kind, caught.value.http_status) == (ErrorKind.REDIRECT, status)
    assert (api.looks("batch-1"), other.requests) == (1, [])


# Pauses --------------------------------------------------------------------------------------------------------------


def seconds_of(work: Callable[[], object]) -> float:
    before = time.monotonic()
    work()
    return time.monotonic() - before


IN_A_MINUTE = format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)
IN_THE_PAST = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "limited,waits",
    [
        (Response.rate_limited(60), True),
        (Response.rate_limited(IN_A_MINUTE), True),
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
def test_the_pause_that_the_api_asks_for_is_kept_up_to_the_limit_that_is_set(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, limited: Response, waits: bool
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_RETRY_DELAY", "0.3")
    api.respond("batch-1", limited, BODY)
    with EnrowClient(api.api_key, api.url) as client:
        took = seconds_of(lambda: client.fetch_batch("batch-1"))
    assert api.looks("batch-1") == 2
    assert (0.28 <= took < 2) if waits else took < 0.25


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


def test_a_pause_after_429_holds_the_other_threads_back(api: SimulatedEnrow, client: EnrowClient) -> None:
    api.respond("limited", Response(429, {"message": "Too Many Requests", "retry_after": 0.6}), BODY)
    api.add_completed("other", 1)
    thread, outcome = in_a_thread(client, "limited")
    until(lambda: api.looks("limited") == 1)
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
        until(lambda: api.looks("broken") == 1)
        time.sleep(0.1)
        assert seconds_of(lambda: client.fetch_batch("other")) < 0.25
        thread.join(5)
    assert outcome == [200]


def test_leaving_the_block_ends_waiting_threads_at_once(api: SimulatedEnrow) -> None:
    limited, broken = Response.rate_limited(30), Response(500, headers={"Retry-After": "30"})
    api.respond("limited", limited)
    api.respond("broken", broken)
    with EnrowClient(api.api_key, api.url) as client:
        waiting = [in_a_thread(client, "broken"), in_a_thread(client, "limited")]
        until(lambda: api.looks("broken") + api.looks("limited") == 2)
        held_back = in_a_thread(client, "held-back")
        time.sleep(0.1)
    left = time.monotonic()
    for thread, _ in [*waiting, held_back]:
        thread.join(5)
    assert time.monotonic() - left < 1
    assert [outcome for _, outcome in waiting] == [[ErrorKind.SERVER_ERROR], [ErrorKind.RATE_LIMITED]]
    assert not held_back[0].is_alive()
    assert (api.looks("broken"), api.looks("limited")) == (1, 1)


# The base URL and the key --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://api.enrow.io",
        "https://api.enrow.io/",
        " https://enrow.example:8443 ",
        "HTTPS://API.ENROW.IO",
        "http://localhost:8080",
        "http://127.0.0.1",
        "http://127.1.2.3:80",
        "http://[::1]:8080",
    ],
)
def test_https_and_loopback_are_fine(url: str) -> None:
    assert "key" not in repr(EnrowClient("a-made-up-key", url))


@pytest.mark.parametrize(
    "url",
    [
        "http://api.enrow.io",
        "http://10.0.0.1:8080",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://0.0.0.0",
        "ftp://api.enrow.io",
        "file:///etc/passwd",
        "api.enrow.io",
        "//api.enrow.io",
        "https://",
        "https:///phone",
        "",
        " ",
        "https://api.enrow.io/phone/bulk",
        "https://api.enrow.io/?id=1",
        "https://api.enrow.io/#x",
        "https://api.enrow.io:99999",
        "https://api.enrow.io:port",
        "https://[::1",
        "https://h\u2100ost",
        "https://ho st",
        "https://api.enrow.io\n.example.com",
        "https://someone:hunter2@api.enrow.io",
        "https://hunter2@api.enrow.io",
        "http://127.0.0.1@example.com",
        "http://someone:hunter2@127.0.0.1:8080",
        "ftp://someone:hunter2@api.enrow.io",
        "someone:hunter2@api.enrow.io",
        "https://someone:hunter2@[::1",
        "https://someone:hunt/hunter2@api.enrow.io",
        "https://someone:hunt#hunter2@api.enrow.io",
        "https://someone:hunt?hunter2@api.enrow.io",
        "https://someone:hunt@hunter2@api.enrow.io",
        "https://api.enrow.io/?user=someone:hunter2@x",
    ],
)
def test_any_other_base_url_is_an_error_that_tells_the_fix_and_no_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="enrow_base_url") as caught:
        EnrowClient("a-made-up-key", url)
    message = str(caught.value)
    assert "https" in message
    assert "hunter2" not in message
    assert "a-made-up-key" not in message


@pytest.mark.parametrize(
    "key", ["", " ", "\n", "made-up\nkey", "made-up key", "made-up\r\nx-other: 1", "made-up\x00", "made-up-kéy"]
)
def test_a_key_that_cannot_be_one_is_an_error_that_does_not_show_it(key: str) -> None:
    with pytest.raises(ConfigurationError, match="ENROW_API_KEY") as caught:
        EnrowClient(key, "https://api.enrow.io")
    assert "made-up" not in f"{caught.value!s}{caught.value!r}"


def test_a_key_is_trimmed(api: SimulatedEnrow) -> None:
    api.add_completed("batch-1", 1)
    with EnrowClient(f" {api.api_key}\n", api.url) as client:
        assert client.fetch_batch("batch-1").http_status == HTTPStatus.OK


@pytest.mark.parametrize(
    "response",
    [
        Response.unreadable(),
        Response.bad_key(),
        Response.out_of_credits(),
        Response.rate_limited(0),
        Response.server_error(),
        Response(418),
        Response.redirect("http://example.com/"),
        Response(body=BODY, reset_after=10),
    ],
    ids=["400", "401", "402", "429", "500", "418", "redirect", "reset"],
)
def test_the_key_is_in_nothing_that_an_error_tells(
    api: SimulatedEnrow, client: EnrowClient, response: Response
) -> None:
    api.respond("batch-1", response)
    with pytest.raises(EnrowError) as caught:
        client.fetch_batch("batch-1")
    message = everything_told_by(caught.value)
    assert "fetch_batch" in message
    assert api.api_key not in message


@pytest.mark.parametrize("status", [400, 401, 402, 404, 418, 429, 500])
def test_a_key_that_the_api_repeats_is_not_told(api: SimulatedEnrow, client: EnrowClient, status: int) -> None:
    api.respond("batch-1", Response.message(status, f"{api.api_key} is unknown"))
    with pytest.raises(EnrowError, match=r"\*\*\* is unknown") as caught:
        client.fetch_batch("batch-1")
    assert api.api_key not in f"{caught.value!s} {caught.value!r} {vars(caught.value)}"


def test_a_certificate_file_that_is_missing_is_told_without_the_key(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    url = api.url.replace("http:", "https:")
    with EnrowClient(api.api_key, url) as client, pytest.raises(EnrowError, match=r"/nowhere/ca\.pem") as caught:
        client.fetch_batch("batch-1")
    message = everything_told_by(caught.value)
    assert api.api_key not in message


def test_a_server_that_speaks_no_http_is_a_connection_error(api: SimulatedEnrow) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            for _ in range(3):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(4_096)
                    connection.sendall(b"220 smtp.example.com ready\r\n")

        Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with EnrowClient(api.api_key, url) as client, pytest.raises(RequestFailedError) as caught:
            client.fetch_batch("batch-1")
    assert caught.value.kind is ErrorKind.CONNECTION
    message = everything_told_by(caught.value)
    assert api.api_key not in message
