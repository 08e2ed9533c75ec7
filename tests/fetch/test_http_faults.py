"""HTTP weather: whole runs over real sockets into DuckDB, each with batches that must load beside those that cannot.

https://enrow.readme.io
"""

import gzip
import re
import socketserver
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from enrow_source.runner.report import ExitCode, RunReport
from enrow_source.runner.run import run
from enrow_source.testing import Response, SimulatedEnrow, bodies
from enrow_source.testing.batches import Script
from enrow_source.testing.responses import encoded
from tests.support import faults_page
from tests.support.faults_page import Outcome, Seen, outcomes
from tests.support.warehouse import Warehouse

ATTEMPTS = 2
TIMEOUT_S = 1.5
LONGEST_WAIT_S = 1.1
RESULTS = 2


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", str(ATTEMPTS))
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", str(TIMEOUT_S))
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_RETRY_DELAY", str(LONGEST_WAIT_S))


Load = Callable[..., RunReport]


@pytest.fixture
def load(api: SimulatedEnrow, warehouse: Warehouse) -> Load:
    """Run the pipeline: `load(ids, **options)`."""

    def run_it(batch_ids: list[str], **options: Any) -> RunReport:
        warehouse._open()  # every connection of dlt's is quicker while one is open
        where = {"enrow_api_key": api.api_key, "enrow_base_url": api.url}
        return run(batch_ids, pipeline=warehouse.pipeline(), **(where | options))

    return run_it


def answer(batch_id: str, *, gzipped: bool = False) -> bytes:
    """Return the body of a batch that loads."""
    body = encoded(bodies.completed(batch_id, RESULTS))
    return gzip.compress(body, mtime=0) if gzipped else body


@dataclass(frozen=True)
class Weather:
    """What happens to one batch, what its responses are, and what is to come of it: rows, or an error row."""

    what: str
    script: tuple[Script, ...]
    requests: int = 1
    kind: str | None = None
    status: int | None = None
    tells: str = ""
    """Stands in the message of the error row."""


def weather(batch_id: str, elsewhere: str) -> Iterator[Weather]:
    """Yield each weather, for a batch of that id; `elsewhere` is the URL of another host."""
    yield from odd_bodies(batch_id)
    yield from broken_bodies(batch_id)
    yield from wrong_bodies(batch_id)
    yield from redirects(batch_id, elsewhere)
    yield from statuses(batch_id)


def odd_bodies(batch_id: str) -> Iterator[Weather]:
    body = answer(batch_id)
    yield Weather("a gzipped body", (Response(body=body, gzip=True),))
    yield Weather("a chunked body", (Response(body=body, chunked=True),))
    yield Weather("a body both gzipped and chunked", (Response(body=body, gzip=True, chunked=True),))
    twice = gzip.compress(body[:50], mtime=0) + gzip.compress(body[50:], mtime=0)
    yield Weather("gzip in two parts", (Response(body=twice, headers={"Content-Encoding": "gzip"}),))
    plain = Response(body=body, headers={"Content-Encoding": "identity"})
    yield Weather("a body with `Content-Encoding: identity`", (plain,))
    yield Weather("a slow body, within the timeout", (Response(body=body, drip_bytes_per_s=len(body) / 0.5),))
    yield Weather("202 instead of 200", (Response(202, body),))
    yield Weather(
        "UTF-8, with a header that says `charset=iso-8859-1`",
        (Response(body=body, headers={"Content-Type": "application/json; charset=iso-8859-1"}),),
    )


def broken_bodies(batch_id: str) -> Iterator[Weather]:
    body = answer(batch_id)
    lost = partial(Weather, requests=ATTEMPTS, kind="connection")
    yield lost("reset in the middle of a body", (Response(body=body, reset_after=100),), tells="reset")
    yield lost("closed in the middle of a body", (Response(body=body, truncate_after=100),), tells="IncompleteRead")
    yield lost("closed in the middle of a chunked body", (Response(body=body, truncate_after=100, chunked=True),))
    yield lost("a body that stops", (Response(body=body, stall_after=100),), tells="timed out")
    yield lost("no answer at all", (Response(body=body, delay_s=60.0),), tells="timed out")
    drip = f"not complete after {3 * TIMEOUT_S:g} s"
    yield lost("a body at 1 byte/s", (Response(body=body, drip_bytes_per_s=1),), tells=drip)
    yield lost("a chunked body at 1 byte/s", (Response(body=body, drip_bytes_per_s=1, chunked=True),), tells=drip)
    yield lost("a gzipped body at 1 byte/s", (Response(body=body, drip_bytes_per_s=1, gzip=True),), tells=drip)
    yield lost(
        "gzip, closed too early",
        (Response(body=body, gzip=True, truncate_after=100),),
        tells="IncompleteRead",
    )
    yield lost("said to be gzip, and is not", (Response(body=body, headers={"Content-Encoding": "gzip"}),))
    cut = Response(body=answer(batch_id, gzipped=True)[:-100], headers={"Content-Encoding": "gzip"})
    yield lost("gzip, of which the end is missing", (cut,))
    yield Weather("reset once, then well", (Response(body=body, reset_after=100), body), requests=2)


def wrong_bodies(batch_id: str) -> Iterator[Weather]:
    body = answer(batch_id)
    wrong = partial(Weather, kind="invalid_response", status=200)
    page = Response(body=b"<!doctype html><title>Be right back</title>", headers={"Content-Type": "text/html"})
    yield wrong("200 with an HTML page", (page,), tells="the body is not JSON")
    yield wrong("200 with an empty body", (Response(),), tells="the body is not JSON")
    yield wrong("200 with spaces", (Response(body=b" \n"),), tells="the body is not JSON")
    named = body.decode().replace("Ashgrove", "Aßgrove").replace('"firstname":"', '"firstname":"é')
    person = named if "é" in named else named.replace('"index":0', '"index":0,"who":"é"')
    yield wrong("ISO 8859-1", (Response(body=person.encode("latin-1")),), tells="the body is not UTF-8")
    yield wrong("UTF-16", (Response(body=person.encode("utf-16")),), tells="the body is not UTF-8")
    yield wrong("202 with an HTML page", (Response(202, page.body),), status=202, tells="the body is not JSON")


def redirects(batch_id: str, elsewhere: str) -> Iterator[Weather]:
    for code in (301, 302, 303, 307, 308):
        moved = Response.redirect(f"{elsewhere}/phone/bulk?id={batch_id}", code)
        yield Weather(f"{code} to another host", (moved,), kind="redirect", status=code, tells="not followed")
    redirect = partial(Weather, kind="redirect", status=302, tells="not followed")
    yield redirect("302 to itself", (Response.redirect(f"/phone/bulk?id={batch_id}"),))
    yield redirect("302 without a place", (Response(302),))
    yield redirect("302 to what is no URL", (Response.redirect("http://[::1"),))
    yield redirect("302 to what is no text", (Response.redirect("http://\xe9.example/"),))
    yield Weather("304", (Response(304),), kind="redirect", status=304)


def statuses(batch_id: str) -> Iterator[Weather]:
    body = answer(batch_id)
    for code in (500, 502, 503, 504, 529):
        failing = partial(Weather, requests=ATTEMPTS, kind="server_error", status=code)
        yield failing(f"{code} for ever", (Response.server_error(code),), tells="Internal server error")
    page = Response(503, b"<h1>Service Unavailable</h1>", {"Content-Type": "text/html"})
    yield Weather(
        "503 for ever, with an HTML page",
        (page,),
        requests=ATTEMPTS,
        kind="server_error",
        status=503,
        tells="Service Unavailable",
    )
    yield Weather("500 once, then well", (Response.server_error(), body), requests=2)
    yield Weather("400", (Response.unreadable(),), kind="not_readable", status=400, tells="Could not retrieve")
    yield Weather("404", (Response.not_found(),), kind="not_readable", status=404, tells="not found")
    empty = Response(404, headers={"Content-Encoding": "gzip"})
    yield Weather("404 with nothing, said to be gzip", (empty,), kind="not_readable", status=404)
    for code in (204, 206, 403, 405, 418):
        yield Weather(f"{code}", (Response(code),), kind="unexpected_status", status=code)


def test_every_weather_is_of_its_own_batch_alone(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> None:
    with SimulatedEnrow() as elsewhere:
        count = len(list(weather("", "")))
        batches = {f"batch-{n:02}": list(weather(f"batch-{n:02}", elsewhere.url))[n] for n in range(count)}
        for batch_id, case in batches.items():
            api.respond(batch_id, *case.script)
        healthy = [api.add_completed(f"healthy-{number:02}", RESULTS) for number in range(count)]
        report = load([*healthy[: count // 2], *batches, *healthy[count // 2 :]], connections=2 * count)

    assert elsewhere.requests == []
    seen = outcomes(warehouse)
    assert {batch_id: api.looks(batch_id) for batch_id in batches} == {i: w.requests for i, w in batches.items()}
    assert [api.looks(batch_id) for batch_id in healthy] == [1] * count
    assert all(is_loaded(seen[batch_id]) for batch_id in healthy)
    for batch_id, case in batches.items():
        assert_as_expected(case, seen[batch_id])
    assert report.completed == count + sum(case.kind is None for case in batches.values())
    assert report.unreadable == sum(case.kind is not None for case in batches.values())
    assert report.exit_code == ExitCode.PARTIAL
    faults_page.check(
        "HTTP weather", [message(c.what, seen[i], api.looks(i), tells=c.tells) for i, c in batches.items()]
    )


def is_loaded(outcome: Outcome) -> bool:
    return (len(outcome.batches), len(outcome.stats), len(outcome.results), outcome.errors) == (1, 1, RESULTS, [])


def assert_as_expected(case: Weather, outcome: Outcome) -> None:
    if case.kind is None:
        assert is_loaded(outcome), case.what
        return
    kind, status, message = outcome.error
    assert (kind, status) == (case.kind, case.status), case.what
    assert case.tells in message, case.what


def message(what: str, outcome: Outcome, requests: int, later: str = "", tells: str = "") -> Seen:
    times = "1 request" if requests == 1 else f"{requests} requests"
    if is_loaded(outcome):
        return Seen(what, f"loaded it with {times}{later}", f"`phone_results`: {len(outcome.results)} rows")
    return Seen(what, f"went on without it after {times}{later}", faults_page.shown_error(outcome, tells))


# 429 -----------------------------------------------------------------------------------------------------------------


class Arrivals:
    """Notes when each request for a batch came in."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def noted(self, batch_id: str, *script: Response | bytes) -> list[Script]:
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
        first, second = arrivals.noted(batch_id, b"", answer(batch_id))
        api.respond(batch_id, partial(refused, first, pause.refusal), second)
    api.respond("for-ever", Response.rate_limited(0))
    # One connection, or the pause of one batch would be that of all.
    report = load([*batches, "for-ever", api.add_completed("healthy", RESULTS)], connections=1)

    assert (report.completed, report.unreadable) == (len(batches) + 1, 1)
    assert (api.looks("for-ever"), api.looks("healthy")) == (ATTEMPTS, 1)
    seen = outcomes(warehouse)
    assert seen["for-ever"].error == ("rate_limited", 429, "Too Many Requests")
    rows = []
    for batch_id, pause in batches.items():
        assert is_loaded(seen[batch_id])
        first_at, second_at = arrivals.times[batch_id]
        assert pause.at_least_s <= second_at - first_at <= pause.at_most_s + SLACK_S, pause.what
        later = f", {pause.at_most_s:g} s apart" if pause.at_least_s else ", at once"
        rows.append(message(pause.what, seen[batch_id], len(arrivals.times[batch_id]), later))
    rows.append(message("429 for ever", seen["for-ever"], api.looks("for-ever")))
    faults_page.check("When the API says 429", rows)


def refused(note: Script, refusal: Callable[[], Response], look: int) -> Response:
    assert callable(note)
    note(look)
    return refusal()


def test_a_429_slows_the_whole_run_down(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> None:
    rows = [one_429(api, load), a_storm_of_429(api, load)]
    assert all(is_loaded(outcome) for outcome in outcomes(warehouse).values())
    faults_page.check("A 429 is for the whole run", rows)


def one_429(api: SimulatedEnrow, load: Load) -> Seen:
    """Run into one 429 between batches that load."""
    arrivals, count, connections = Arrivals(), 60, 4
    for number in range(count):
        batch_id = f"one-{number:02}"
        healthy = Response(body=answer(batch_id), delay_s=0.03)
        refusals = [Response.rate_limited(1)] if number == count // 3 else []
        api.respond(batch_id, *arrivals.noted(batch_id, *refusals, healthy))
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

    def in_the_storm(batch_id: str, look: int) -> Response:
        assert look < ATTEMPTS
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


# Nobody there, or nobody who speaks HTTP ----------------------------------------------------------------------------


class RawServer(socketserver.ThreadingTCPServer):
    """Answers each batch with bytes, whatever they are, one by one where it is said, and closes the connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128  # past it the kernel lets a connection wait, for longer than the timeout here

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RawAnswer)
        self.answers: dict[str, bytes] = {}
        self.dripping: set[str] = set()
        self.looks: Counter[str] = Counter()

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
        self.server.looks[batch_id] += 1
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

    seen = outcomes(warehouse)
    assert all(is_loaded(seen[batch_id]) and server.looks[batch_id] == 1 for batch_id in healthy)
    for batch_id, name in batches.items():
        kind = not_http(batch_id)[name][1]
        assert server.looks[batch_id] == (ATTEMPTS if kind == "connection" else 1), name
        assert is_loaded(seen[batch_id]) if kind is None else seen[batch_id].error[0] == kind, name
    tells = {DRIPPING: f"not complete after {3 * RAW_TIMEOUT_S:g} s"}
    rows = [message(n, seen[i], server.looks[i], tells=tells.get(n, "")) for i, n in batches.items()]
    faults_page.check("No HTTP at all", rows)


# Runs that end early -------------------------------------------------------------------------------------------------


def test_what_was_loaded_stays_while_the_api_is_away_and_the_next_run_goes_on(
    api: SimulatedEnrow, warehouse: Warehouse, load: Load
) -> None:
    ids = [api.add_completed(f"batch-{number}", RESULTS) for number in range(6)]
    load(ids[:3])
    with SimulatedEnrow() as closed:
        nobody = closed.url
    away = load(ids, enrow_base_url=nobody)
    seen = outcomes(warehouse)
    assert (away.unreadable, away.exit_code) == (3, ExitCode.PARTIAL)
    assert all(is_loaded(seen[batch_id]) for batch_id in ids[:3])
    assert {seen[batch_id].error[:2] for batch_id in ids[3:]} == {("connection", None)}
    assert all("refused" in seen[batch_id].error[2] for batch_id in ids[3:])

    more = [api.add_completed(f"later-{number:02}", RESULTS) for number in range(15)]
    api_unavailable = load(more, enrow_base_url=nobody, max_consecutive_failures=3, connections=1)
    assert (api_unavailable.stop_reason, api_unavailable.exit_code) == ("api_unavailable", ExitCode.API_UNAVAILABLE)
    assert 3 <= api_unavailable.unreadable <= 3 + 3

    back = load([*ids, *more])
    assert (back.fetched, back.completed, back.exit_code) == (18, 18, ExitCode.OK)
    assert [api.looks(batch_id) for batch_id in [*ids, *more]] == [1] * 21
    assert all(len(outcome.results) == RESULTS for outcome in outcomes(warehouse).values())

    refused = "connection refused"
    faults_page.check(
        "Runs that end early",
        [
            Seen(
                f"{refused}",
                f"{ATTEMPTS} attempts for each batch, then an error row",
                faults_page.shown_error(seen[ids[3]], "refused"),
            ),
            told_gave_up(refused, api_unavailable),
            *gave_up_on_an_api_that_is_down(api, warehouse, load),
        ],
    )


def gave_up_on_an_api_that_is_down(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> list[Seen]:
    """Run into an API that answers five batches, and no more."""
    rows, batches = [], {}
    for what, response in {
        "500 for ever": Response.server_error(500),
        "429 for ever": Response.rate_limited(0),
    }.items():
        well = [api.add_completed(f"well, then {what} {number}", RESULTS) for number in range(5)]
        ill = [api.respond(f"{what} {number:02}", response) for number in range(30)]
        report = load([*well, *ill], max_consecutive_failures=6, connections=2)

        assert (report.completed, report.stop_reason, report.exit_code) == (
            5,
            "api_unavailable",
            ExitCode.API_UNAVAILABLE,
        )
        assert re.search(rf"^stopped early +{report.stop_reason} ", str(report), re.MULTILINE)
        asked = [batch_id for batch_id in ill if api.looks(batch_id)]
        assert 6 <= len(asked) <= 6 + 2 * 2 + 2  # each connection may be two batches ahead
        assert {api.looks(batch_id) for batch_id in asked[:6]} == {ATTEMPTS}
        seen = outcomes(warehouse)
        assert all(is_loaded(seen[batch_id]) for batch_id in well)
        assert [batch_id for batch_id in asked[:6] if seen[batch_id].error[1] != response.status] == []
        rows.append(told_gave_up(what, report))
        batches[what] = ill
    ids = [api.add_completed(batch_id, RESULTS) for ill in batches.values() for batch_id in ill]
    assert load(ids).completed == len(ids)
    assert {len(outcomes(warehouse)[batch_id].results) for batch_id in ids} == {RESULTS}
    return rows


def told_gave_up(what: str, report: RunReport) -> Seen:
    before = f"loaded the {report.completed} batches before it, and ended" if report.completed else "stop_reason"
    where = f"exit code {report.exit_code}, `ended early`: `{report.stop_reason}`"
    return Seen(f"{what}, for `max_consecutive_failures` batches in a row", before, where)
