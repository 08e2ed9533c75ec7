"""The client over real sockets: what it sends, and what each response becomes."""

import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
import requests

from enrow_source import InvalidApiKeyError, OutOfCreditsError
from enrow_source.api.client import EnrowClient
from enrow_source.errors import ErrorKind, RequestFailedError
from enrow_source.testing import Response, SimulatedEnrow
from tests.api.requests_made import BODY, text_of_error

pytestmark = pytest.mark.usefixtures("quick")


def test_fetch_is_one_get_with_the_key(api: SimulatedEnrow, client: EnrowClient) -> None:
    """A fetch is one GET with the key and nothing else that identifies the user."""
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


def test_proxy_sees_no_loopback_request(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy gets neither key nor request for a loopback address."""
    with SimulatedEnrow() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name)
        with EnrowClient(api.api_key, api.url) as client, pytest.raises(RequestFailedError):
            client.fetch_batch("batch-1")
    assert (len(api.requests), proxy.requests) == (1, [])


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
    assert api.fetches("batch-1") == 2


REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize(
    "response,expected,fetches",
    [
        (Response.missing_id(), (ErrorKind.NOT_READABLE, 400, "Missing id in the query params"), 1),
        (Response.unreadable(), (ErrorKind.EXPIRED_OR_UNKNOWN, 400, "Could not retrieve bulk search results"), 1),
        (Response.not_found(), (ErrorKind.EXPIRED_OR_UNKNOWN, 404, "Bulk search not found"), 1),
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
def test_status_becomes_one_kind_of_error(
    api: SimulatedEnrow, client: EnrowClient, response: Response, expected: tuple[ErrorKind, int, str], fetches: int
) -> None:
    """Each HTTP status becomes an error of one kind after a known number of requests."""
    api.respond("batch-1", response)
    with pytest.raises(RequestFailedError) as caught:
        client.fetch_batch("batch-1")
    error = caught.value
    assert ((error.kind, error.http_status, error.message), api.fetches("batch-1")) == (expected, fetches)


def test_401_and_402_end_the_run(api: SimulatedEnrow, client: EnrowClient) -> None:
    """401 and 402 concern the whole run and are not retried."""
    api.respond("batch-1", Response.bad_key(), Response.out_of_credits())
    with pytest.raises(InvalidApiKeyError) as refused:
        client.fetch_batch("batch-1")
    with pytest.raises(OutOfCreditsError, match="out of credits"):
        client.fetch_batch("batch-1")
    assert "This apikey is not valid" in str(refused.value)
    assert "ENROW_API_KEY" in str(refused.value)
    assert api.fetches("batch-1") == 2


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
def test_incomplete_body_is_a_connection_error(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, fault: Response
) -> None:
    """A body that never completes is a connection error in bounded time."""
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "0.15")
    api.respond("batch-1", fault)
    before = time.monotonic()
    with EnrowClient(api.api_key, api.url) as client, pytest.raises(RequestFailedError) as caught:
        client.fetch_batch("batch-1")
    assert (caught.value.kind, caught.value.http_status, api.fetches("batch-1")) == (ErrorKind.CONNECTION, None, 1)
    assert time.monotonic() - before < 2
    message = text_of_error(caught.value)
    assert api.api_key not in message


def test_a_refused_connection_is_a_connection_error(api: SimulatedEnrow) -> None:
    with SimulatedEnrow() as gone:
        url = gone.url
    with EnrowClient(api.api_key, url) as client, pytest.raises(RequestFailedError, match="refused") as caught:
        client.fetch_batch("batch-1")
    assert (caught.value.kind, caught.value.http_status) == (ErrorKind.CONNECTION, None)
    message = text_of_error(caught.value)
    assert api.api_key not in message


@pytest.mark.parametrize("gzip", [False, True])
def test_too_large_body_is_not_retried(api: SimulatedEnrow, gzip: bool) -> None:
    """A body past the limit is an error and is not requested again."""
    api.respond("batch-1", Response(body=b" " * 2_000_000, gzip=gzip))
    client = EnrowClient(api.api_key, api.url, max_response_mb=1)
    with client, pytest.raises(RequestFailedError, match="larger than max_response_mb, 1") as caught:
        client.fetch_batch("batch-1")
    assert (caught.value.kind, caught.value.http_status, api.fetches("batch-1")) == (ErrorKind.TOO_LARGE, 200, 1)


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_is_not_followed(api: SimulatedEnrow, client: EnrowClient, status: int) -> None:
    with SimulatedEnrow(api_key=api.api_key) as other:
        other.add_completed("batch-1", 3)
        api.respond("batch-1", Response.redirect(f"{other.url}/phone/bulk?id=batch-1", status))
        with pytest.raises(RequestFailedError) as caught:
            client.fetch_batch("batch-1")
    assert (caught.value.kind, caught.value.http_status) == (ErrorKind.REDIRECT, status)
    assert (api.fetches("batch-1"), other.requests) == (1, [])


def test_not_http_is_a_connection_error(api: SimulatedEnrow) -> None:
    """A server that does not speak HTTP is a connection error."""
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
    message = text_of_error(caught.value)
    assert api.api_key not in message
