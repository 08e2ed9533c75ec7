"""HTTP faults: whole runs over real sockets, each with batches that load beside those that cannot.

https://enrow.readme.io
"""

import gzip
import socketserver
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from enrow_source.runner.report import ExitCode
from enrow_source.testing import Response, SimulatedEnrow
from enrow_source.testing.batches import Script
from tests.conftest import Load
from tests.fetch.faults import ATTEMPTS, RESULTS, TIMEOUT_S, answer, is_loaded, message
from tests.support import faults_page
from tests.support.faults_page import BatchRows, batch_rows
from tests.support.warehouse import Warehouse

pytestmark = pytest.mark.usefixtures("quick")


@dataclass(frozen=True)
class Fault:
    """What happens to one batch, what its responses are, and what is to come of it: rows, or an error row."""

    what: str
    script: tuple[Script, ...]
    requests: int = 1
    kind: str | None = None
    status: int | None = None
    says: str = ""
    """Stands in the message of the error row."""


def faults(batch_id: str, elsewhere: str) -> Iterator[Fault]:
    """Yield each fault, for a batch of that id; `elsewhere` is the URL of another host."""
    yield from odd_bodies(batch_id)
    yield from broken_bodies(batch_id)
    yield from wrong_bodies(batch_id)
    yield from redirects(batch_id, elsewhere)
    yield from statuses(batch_id)


def odd_bodies(batch_id: str) -> Iterator[Fault]:
    body = answer(batch_id)
    yield Fault("a gzipped body", (Response(body=body, gzip=True),))
    yield Fault("a chunked body", (Response(body=body, chunked=True),))
    yield Fault("a body both gzipped and chunked", (Response(body=body, gzip=True, chunked=True),))
    twice = gzip.compress(body[:50], mtime=0) + gzip.compress(body[50:], mtime=0)
    yield Fault("gzip in two parts", (Response(body=twice, headers={"Content-Encoding": "gzip"}),))
    plain = Response(body=body, headers={"Content-Encoding": "identity"})
    yield Fault("a body with `Content-Encoding: identity`", (plain,))
    yield Fault("a slow body, within the timeout", (Response(body=body, drip_bytes_per_s=len(body) / 0.5),))
    yield Fault("202 instead of 200", (Response(202, body),))
    yield Fault(
        "UTF-8, with a header that says `charset=iso-8859-1`",
        (Response(body=body, headers={"Content-Type": "application/json; charset=iso-8859-1"}),),
    )


def broken_bodies(batch_id: str) -> Iterator[Fault]:
    body = answer(batch_id)
    lost = partial(Fault, requests=ATTEMPTS, kind="connection")
    yield lost("reset in the middle of a body", (Response(body=body, reset_after=100),), says="reset")
    yield lost("closed in the middle of a body", (Response(body=body, truncate_after=100),), says="IncompleteRead")
    yield lost("closed in the middle of a chunked body", (Response(body=body, truncate_after=100, chunked=True),))
    yield lost("a body that stops", (Response(body=body, stall_after=100),), says="timed out")
    yield lost("no answer at all", (Response(body=body, delay_s=60.0),), says="timed out")
    drip = f"not complete after {3 * TIMEOUT_S:g} s"
    yield lost("a body at 1 byte/s", (Response(body=body, drip_bytes_per_s=1),), says=drip)
    yield lost("a chunked body at 1 byte/s", (Response(body=body, drip_bytes_per_s=1, chunked=True),), says=drip)
    yield lost("a gzipped body at 1 byte/s", (Response(body=body, drip_bytes_per_s=1, gzip=True),), says=drip)
    yield lost(
        "gzip, closed too early",
        (Response(body=body, gzip=True, truncate_after=100),),
        says="IncompleteRead",
    )
    yield lost("said to be gzip, and is not", (Response(body=body, headers={"Content-Encoding": "gzip"}),))
    cut = Response(body=answer(batch_id, gzipped=True)[:-100], headers={"Content-Encoding": "gzip"})
    yield lost("gzip, of which the end is missing", (cut,))
    yield Fault("reset once, then well", (Response(body=body, reset_after=100), body), requests=2)


def wrong_bodies(batch_id: str) -> Iterator[Fault]:
    body = answer(batch_id)
    wrong = partial(Fault, kind="invalid_response", status=200)
    page = Response(body=b"<!doctype html><title>Be right back</title>", headers={"Content-Type": "text/html"})
    yield wrong("200 with an HTML page", (page,), says="the body is not JSON")
    yield wrong("200 with an empty body", (Response(),), says="the body is not JSON")
    yield wrong("200 with spaces", (Response(body=b" \n"),), says="the body is not JSON")
    named = body.decode().replace("Ashgrove", "Aßgrove").replace('"firstname":"', '"firstname":"é')
    person = named if "é" in named else named.replace('"index":0', '"index":0,"who":"é"')
    yield wrong("ISO 8859-1", (Response(body=person.encode("latin-1")),), says="the body is not UTF-8")
    yield wrong("UTF-16", (Response(body=person.encode("utf-16")),), says="the body is not UTF-8")
    yield wrong("202 with an HTML page", (Response(202, page.body),), status=202, says="the body is not JSON")


def redirects(batch_id: str, elsewhere: str) -> Iterator[Fault]:
    for code in (301, 302, 303, 307, 308):
        moved = Response.redirect(f"{elsewhere}/phone/bulk?id={batch_id}", code)
        yield Fault(f"{code} to another host", (moved,), kind="redirect", status=code, says="not followed")
    redirect = partial(Fault, kind="redirect", status=302, says="not followed")
    yield redirect("302 to itself", (Response.redirect(f"/phone/bulk?id={batch_id}"),))
    yield redirect("302 without a place", (Response(302),))
    yield redirect("302 to what is no URL", (Response.redirect("http://[::1"),))
    yield redirect("302 to what is no text", (Response.redirect("http://\xe9.example/"),))
    yield Fault("304", (Response(304),), kind="redirect", status=304)


def statuses(batch_id: str) -> Iterator[Fault]:
    body = answer(batch_id)
    for code in (500, 502, 503, 504, 529):
        failing = partial(Fault, requests=ATTEMPTS, kind="server_error", status=code)
        yield failing(f"{code} forever", (Response.server_error(code),), says="Internal server error")
    page = Response(503, b"<h1>Service Unavailable</h1>", {"Content-Type": "text/html"})
    yield Fault(
        "503 forever, with an HTML page",
        (page,),
        requests=ATTEMPTS,
        kind="server_error",
        status=503,
        says="Service Unavailable",
    )
    yield Fault("500 once, then well", (Response.server_error(), body), requests=2)
    yield Fault("400", (Response.unreadable(),), kind="expired_or_unknown", status=400, says="Could not retrieve")
    yield Fault("404", (Response.not_found(),), kind="expired_or_unknown", status=404, says="not found")
    empty = Response(404, headers={"Content-Encoding": "gzip"})
    yield Fault("404 with nothing, said to be gzip", (empty,), kind="not_readable", status=404)
    for code in (204, 206, 403, 405, 418):
        yield Fault(f"{code}", (Response(code),), kind="unexpected_status", status=code)


def test_a_fault_concerns_its_batch_alone(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> None:
    """Each HTTP fault concerns its own batch alone."""
    with SimulatedEnrow() as elsewhere:
        count = len(list(faults("", "")))
        batches = {f"batch-{n:02}": list(faults(f"batch-{n:02}", elsewhere.url))[n] for n in range(count)}
        for batch_id, case in batches.items():
            api.respond(batch_id, *case.script)
        healthy = [api.add_completed(f"healthy-{number:02}", RESULTS) for number in range(count)]
        report = load([*healthy[: count // 2], *batches, *healthy[count // 2 :]], connections=2 * count)

    assert elsewhere.requests == []
    seen = batch_rows(warehouse)
    assert {batch_id: api.fetches(batch_id) for batch_id in batches} == {i: w.requests for i, w in batches.items()}
    assert [api.fetches(batch_id) for batch_id in healthy] == [1] * count
    assert all(is_loaded(seen[batch_id]) for batch_id in healthy)
    for batch_id, case in batches.items():
        assert_as_expected(case, seen[batch_id])
    assert report.completed == count + sum(case.kind is None for case in batches.values())
    assert report.unreadable == sum(case.kind is not None for case in batches.values())
    assert report.exit_code == ExitCode.PARTIAL
    faults_page.check(
        "HTTP faults", [message(c.what, seen[i], api.fetches(i), says=c.says) for i, c in batches.items()]
    )


def assert_as_expected(case: Fault, seen: BatchRows) -> None:
    if case.kind is None:
        assert is_loaded(seen), case.what
        return
    kind, status, message = seen.error
    assert (kind, status) == (case.kind, case.status), case.what
    assert case.says in message, case.what


class RawServer(socketserver.ThreadingTCPServer):
    """Answers each batch with bytes, whatever they are, one by one where it is said, and closes the connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128  # past it the kernel lets a connection wait, for longer than the timeout here

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RawAnswer)
        self.answers: dict[str, bytes] = {}
        self.dripping: set[str] = set()
        self.fetches: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _RawAnswer(socketserver.StreamRequestHandler):
    server: RawServer

    def handle(self) -> None:
        address = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        (batch_id,) = parse_qs(urlsplit(address).query)["id"]
        self.server.fetches[batch_id] += 1
        whole = self.server.answers[batch_id]
        if batch_id not in self.server.dripping:
            self.wfile.write(whole)
            return
        with suppress(OSError):  # the client has had enough
            for byte in whole:
                self.wfile.write(bytes([byte]))
                time.sleep(DRIP_S)


@contextmanager
def raw_server() -> Iterator[RawServer]:
    with RawServer() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def raw(batch_id: str, *headers: str) -> bytes:
    """Return a whole response, with these headers beside or instead of the length."""
    body = answer(batch_id)
    lines = ["HTTP/1.1 200 OK", "Connection: close", *(headers or [f"Content-Length: {len(body)}"])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


DRIPPING = "headers that come byte by byte"
DRIP_S = 0.1
RAW_TIMEOUT_S = 1.0
"""Ten drips, so none is late; all of them take longer than an answer may."""


def not_http(batch_id: str) -> Mapping[str, tuple[bytes, str | None]]:
    """Return each answer, and the kind of its error; None where it loads all the same."""
    body = answer(batch_id)
    return {
        "closed without an answer": (b"", "connection"),
        "a line that is not HTTP": (b"220 mail.example ESMTP\r\n\r\n", "connection"),
        "random bytes": (bytes(range(256)) * 8, "connection"),
        "a status that is no number": (b"HTTP/1.1 OK 200\r\n\r\n", "connection"),
        "1,000 headers": (raw(batch_id, *(f"X-{number}: 1" for number in range(1_000))), "connection"),
        "a header of 100,000 characters": (raw(batch_id, "X-Long: " + "x" * 100_000), "connection"),
        "closed in the middle of the headers": (raw(batch_id)[:30], "invalid_response"),
        "a length that is too long": (raw(batch_id, f"Content-Length: {len(body) + 1}"), "connection"),
        "a length that is too short": (raw(batch_id, f"Content-Length: {len(body) - 1}"), "invalid_response"),
        "two lengths": (raw(batch_id, f"Content-Length: {len(body)}", "Content-Length: 5"), "connection"),
        "a length that is no number": (raw(batch_id, "Content-Length: some"), None),
        "no length": (raw(batch_id, "X-Empty: "), None),
        "a chunk whose size is no number": (raw(batch_id, "Transfer-Encoding: chunked"), "connection"),
        "an encoding that nobody knows": (raw(batch_id, "Content-Encoding: x-y"), "connection"),
        DRIPPING: (raw(batch_id), "connection"),
    }


def test_answers_that_are_not_http(warehouse: Warehouse, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", str(RAW_TIMEOUT_S))
    names = list(not_http(""))
    with raw_server() as server:
        batches = {f"raw-{number:02}": name for number, name in enumerate(names)}
        for batch_id, name in batches.items():
            server.answers[batch_id] = not_http(batch_id)[name][0]
            if name == DRIPPING:
                server.dripping.add(batch_id)
        healthy = [f"healthy-{number}" for number in range(len(batches))]
        server.answers |= {batch_id: raw(batch_id) for batch_id in healthy}
        load([*healthy, *batches], enrow_base_url=server.url)

    seen = batch_rows(warehouse)
    assert all(is_loaded(seen[batch_id]) and server.fetches[batch_id] == 1 for batch_id in healthy)
    for batch_id, name in batches.items():
        kind = not_http(batch_id)[name][1]
        assert server.fetches[batch_id] == (ATTEMPTS if kind == "connection" else 1), name
        assert is_loaded(seen[batch_id]) if kind is None else seen[batch_id].error[0] == kind, name
    says = {DRIPPING: f"not complete after {3 * RAW_TIMEOUT_S:g} s"}
    rows = [message(n, seen[i], server.fetches[i], says=says.get(n, "")) for i, n in batches.items()]
    faults_page.check("No HTTP at all", rows)
