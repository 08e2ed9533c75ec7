"""Hostile and odd answers and ids: whole runs over real sockets; a batch loads, or is one row that names the field.

https://enrow.readme.io
"""

import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import dlt
import pytest

from enrow_source import InvalidBatchIdError
from enrow_source.runner.report import ExitCode, RunReport
from enrow_source.runner.run import run
from enrow_source.testing import Response, SimulatedEnrow, bodies
from enrow_source.testing.responses import encoded
from tests.fuzz.__main__ import fuzz
from tests.support import REPOSITORY, faults_page
from tests.support.faults_page import Outcome, Seen, outcomes
from tests.support.warehouse import Row, Warehouse

if TYPE_CHECKING:
    from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)


Load = Callable[..., RunReport]


@pytest.fixture
def load(api: SimulatedEnrow, warehouse: Warehouse) -> Load:
    """Run the pipeline: `load(ids, **options)`."""

    def run_it(batch_ids: list[str], **options: Any) -> RunReport:
        warehouse._open()  # every connection of dlt's is quicker while one is open
        where = {"enrow_api_key": api.api_key, "enrow_base_url": api.url}
        return run(batch_ids, **({"pipeline": warehouse.pipeline()} | where | options))

    return run_it


def healthy(api: SimulatedEnrow, batch_id: str) -> str:
    """Add a batch that has to load."""
    general = {"id": batch_id, "status": "completed"}
    return api.respond(batch_id, {"general": general, "stats": STATS, "results": [RESULT]})


# Answers -------------------------------------------------------------------------------------------------------------

PROFILE = "https://www.linkedin.example/in/alma"
RESULT: Row = {
    "index": 0,
    "qualification": "found",
    "number": "+12025550100",
    "country": "US",
    "params": {"linkedin_url": PROFILE},
}
ROW: Row = {
    "index": 0,
    "qualification": "found",
    "number": "+12025550100",
    "country": "US",
    "params__linkedin_url": PROFILE,
}
PROFILE_ALONE = {"params__linkedin_url": PROFILE}
NOBODY = {column: value for column, value in ROW.items() if column != "params__linkedin_url"}
STATS: Row = {"requested": 1, "found": 1, "credits_cost": 40, "credits_to_refund": 0}
DEEP = 100_000
SQL = '"; DROP TABLE phone_results; --'
LONG = "long_" * 100
OURS = ("_dlt_load_id", "_dlt_id", "batch_id", "index", "fetched_at", "number", "params__firstname", "overflow")
OURS_IN_A_RESULT = ("_dlt_load_id", "_dlt_id", "batch_id", "fetched_at", "params__firstname", "overflow", "general")
OURS_IN_GENERAL = ("_dlt_load_id", "_dlt_id", "batch_id", "fetched_at", "overflow", "results")
OURS_IN_STATS = ("_dlt_load_id", "_dlt_id", "batch_id", "status", "results_received", "overflow")
NOT_JSON = "the body is not JSON"
NO_CREDITS = "is no number of at most 38 digits, 9 of them decimals"
TOO_DEEP = "the body is nested too deeply"


class Raw(str):
    """JSON text to be sent as it stands."""

    __slots__ = ()


def as_json(value: object) -> str:
    """Encode as JSON, with the raw parts as they stand."""
    match value:
        case Raw():
            return value
        case Mapping():
            return "{" + ",".join(f"{as_json(key)}:{as_json(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(as_json, value)) + "]"
    return json.dumps(value)


@dataclass(frozen=True)
class Case:
    """An odd answer, and what is to come of it: the message of its error, or the rows of `phone_results`."""

    what: str
    general: Mapping[str, object] = field(default_factory=dict)
    stats: object = field(default_factory=lambda: STATS)
    results: object = field(default_factory=lambda: [RESULT])
    top: Mapping[str, object] = field(default_factory=dict)
    body: bytes | None = None
    """The whole answer, where its parts do not say it."""
    error: str | None = None
    rows: tuple[Row, ...] = (ROW,)
    batch: Row = field(default_factory=lambda: {"status": "completed"})
    """The row of `batches`."""
    seen_stats: Row = field(default_factory=dict)
    """Values in the row of `batch_stats`."""

    def answer(self, batch_id: str) -> bytes:
        if self.body is not None:
            return self.body.replace(b"BATCH", batch_id.encode())
        general = {"id": batch_id, "status": "completed", **self.general}
        parts = {"general": general, "stats": self.stats, "results": self.results, **self.top}
        return as_json({key: part for key, part in parts.items() if part is not ...}).encode()


def with_result(what: str, changes: Mapping[str, object], error: str | None = None, **row: object) -> Case:
    """Make a case of one result with these fields; `row` is what is other than usual in its row."""
    return Case(what, results=[{**RESULT, **changes}], error=error, rows=(without_nulls({**ROW, **row}),))


def with_params(what: str, params: Mapping[str, object], error: str | None = None, **row: object) -> Case:
    """Make a case of one result with these keys beside the profile in its search."""
    return with_result(what, {"params": {"linkedin_url": PROFILE, **params}}, error, **row)


def without_nulls(row: Row) -> Row:
    return {column: value for column, value in row.items() if value is not None}


def nested(depth: int) -> Raw:
    return Raw('{"a":' * depth + "1" + "}" * depth)


CASES = [
    # general
    Case("`general.id` of another batch", {"id": "another"}, error="general.id is not the id that was asked for"),
    Case("`general.id` is null", {"id": None}),
    Case("`general.id` is a number", {"id": 7}, error="general.id is a number, expected a string or null"),
    Case("`general` is missing", top={"general": ...}, error="general is missing"),
    Case("`general` is null", top={"general": None}, error="general.status is missing"),
    Case("`general` is an array", top={"general": []}, error="general is an array, expected an object"),
    Case("`status` is null", {"status": None}, error="general.status is missing"),
    Case("`status` is a number", {"status": 1}, error="general.status is a number, expected a string or null"),
    Case("`status` that nobody has documented", {"status": "paused"}, rows=(), batch={"status": "paused"}),
    Case("`status` in capitals", {"status": "COMPLETED"}, rows=(), batch={"status": "COMPLETED"}),
    Case("the answer is an array", body=b"[]", error="the body is an array, expected an object"),
    Case("the answer is a string", body=b'"completed"', error="the body is a string, expected an object"),
    Case("the answer is null", body=b"null", error="general is missing"),
    # results
    Case("`results` is null", results=None, rows=(), seen_stats={"results_received": 0, "requested": 1}),
    Case("`results` is missing", results=..., rows=(), seen_stats={"results_received": 0, "requested": 1}),
    Case("`results` is empty", results=[], rows=(), seen_stats={"results_received": 0, "requested": 1}),
    Case("`results` is an object", results={}, error="results is an object, expected an array"),
    Case("`results` is a string", results="[]", error="results is a string, expected an array"),
    Case(
        "`results` shorter than `requested`",
        stats=STATS | {"requested": 3},
        seen_stats={"results_received": 1, "requested": 3},
    ),
    Case(
        "`results` longer than `requested`",
        results=[RESULT, RESULT | {"index": 1}],
        rows=(ROW, ROW | {"index": 1}),
        seen_stats={"results_received": 2, "requested": 1},
    ),
    Case("a result is null", results=[RESULT, None], error="results[1] is null, expected an object"),
    Case("a result is an array", results=[[]], error="results[0] is an array, expected an object"),
    Case("a result is empty", results=[{}], rows=({},), seen_stats={"results_received": 1, "found_received": 0}),
    Case("`params` is null", results=[RESULT | {"params": None}], rows=(NOBODY,)),
    Case("`params` is missing", results=[{key: RESULT[key] for key in RESULT if key != "params"}], rows=(NOBODY,)),
    with_result("`params` is an array", {"params": []}, "results[0].params is an array, expected an object"),
    with_result(
        "`number` is a number", {"number": 12025550100}, "results[0].number is a number, expected a string or null"
    ),
    with_result("`qualification` that nobody has documented", {"qualification": "maybe"}, qualification="maybe"),
    Case(
        "20 times as many results as a batch can have",
        results=Raw("[" + ",".join(["{}"] * 60_000) + "]"),
        error="results is out of range",
    ),
    # index
    Case("two results of one `index`", results=[RESULT, RESULT], rows=(ROW, ROW)),
    with_result("`index` is missing", {"index": None}, index=None),
    with_result("`index` is negative", {"index": -1}, index=-1),
    with_result("`index` of 63 bits", {"index": 2**63 - 1}, index=2**63 - 1),
    with_result("`index` past 64 bits", {"index": 2**63}, "results[0].index is no whole number of 64 bits"),
    with_result(
        "`index` of 5,000 digits", {"index": Raw("9" * 5_000)}, "results[0].index is no whole number of 64 bits"
    ),
    with_result("`index` is 1.5", {"index": 1.5}, "results[0].index is no whole number of 64 bits"),
    with_result('`index` is "7"', {"index": "7"}, index=7),
    with_result("`index` is true", {"index": True}, "results[0].index is true, expected a whole number"),
    # numbers
    Case("NaN", stats=STATS | {"credits_cost": Raw("NaN")}, error=NOT_JSON),
    Case("Infinity", stats=STATS | {"credits_cost": Raw("Infinity")}, error=NOT_JSON),
    Case('"NaN"', stats=STATS | {"credits_cost": "NaN"}, error=f"stats.credits_cost {NO_CREDITS}"),
    Case("1e400 credits", stats=STATS | {"credits_cost": Raw("1e400")}, error=f"stats.credits_cost {NO_CREDITS}"),
    Case(
        "credits with 10 decimals",
        stats=STATS | {"credits_to_refund": Raw("0.0000000001")},
        error=f"stats.credits_to_refund {NO_CREDITS}",
    ),
    Case(
        "`requested` past 64 bits",
        stats=STATS | {"requested": 2**64},
        error="stats.requested is no whole number of 64 bits",
    ),
    Case("`stats` is null", stats=None, seen_stats={"results_received": 1}),
    Case("`stats` is an array", stats=[], error="stats is an array, expected an object"),
    with_params("1e400 in `params`", {"big_float": Raw("1e400")}, params__big_float="1e400"),
    with_params("an integer past 64 bits in `params`", {"big_integer": 10**40}, params__big_integer=str(10**40)),
    # texts
    with_params("NUL, escaped, in a name", {"firstname": "Al\0ma"}, params__firstname="Al�ma"),
    Case("NUL as a byte", body=b'{"general":{"id":"BATCH","status":"com\0pleted"}}', error=NOT_JSON),
    with_params("half a surrogate pair in a name", {"firstname": "Al\ud800ma"}, params__firstname="Al�ma"),
    with_params(
        "a whole surrogate pair in a name", {"firstname": "Al\U0001f600ma"}, params__firstname="Al\U0001f600ma"
    ),
    with_params("NUL in a key", {"nul\0key": "v"}, params__nul_key="v"),
    with_params("a text of 1 MB", {"lastname": "x" * 1_000_000}, params__lastname="x" * 1_000_000),
    with_result("`custom` of 1 MB", {"custom": "y" * 1_000_000}, custom=f'"{"y" * 1_000_000}"'),
    with_params("200 levels of nesting in `params`", {"nested": nested(200)}, params__nested=nested(200)),
    with_result("200 levels of nesting in `custom`", {"custom": nested(200)}, custom=nested(200)),
    with_result("200 levels of nesting in a new field", {"deep": nested(200)}, deep=nested(200)),
    with_params(f"{DEEP:,} levels of nesting in `params`", {"nested": nested(DEEP)}, error=TOO_DEEP),
    Case(f"{DEEP:,} levels of nesting as the answer", body=b'{"a":' * DEEP + b"1" + b"}" * DEEP, error=TOO_DEEP),
    with_params("text that looks like SQL", {"lastname": SQL}, params__lastname=SQL),
    # keys
    with_params(
        "keys that differ in capitals and `_`",
        {"LinkedIn_URL": "1", "LINKEDIN_URL": "2", "linkedinUrl": "3"},
        params__linked_in_url="1",
        params__overflow='{"LINKEDIN_URL": "2", "linkedinUrl": "3"}',
    ),
    with_params("a key that looks like SQL", {SQL: "v"}, params___drop_table_phone_resultsxxx="v"),
    with_params("an empty key", {"": "v"}, params__overflow='{"": "v"}'),
    with_params("a key that is a blank", {" ": "v"}, params__overflow='{" ": "v"}'),
    with_params("a key of 500 characters", {LONG: "v"}, **{f"params__{LONG[:-1]}x": "v"}),
    with_params("a key with `__`", {"a__b": "v"}, params__a__b="v"),
    with_params(
        "two keys of which no letter is left",
        {"é": "1", "日本": "2"},
        params__x="1",
        params__overflow='{"日本": "2"}',
    ),
    with_params(
        "dlt's names and ours in `params`",
        dict.fromkeys(OURS, "v"),
        **{f"params__{key}": "v" for key in OURS if key != "overflow"},
        params__overflow='{"overflow": "v"}',
    ),
    Case(
        "dlt's names and ours in a result",
        results=[RESULT | dict.fromkeys(OURS_IN_A_RESULT, "v")],
        rows=(ROW | {"general": "v"} | {f"result__{key}": "v" for key in OURS_IN_A_RESULT if key != "general"},),
    ),
    Case(
        "dlt's names and ours in `general`",
        dict.fromkeys(OURS_IN_GENERAL, "v"),
        batch={"status": "completed", "results": "v"}
        | {f"general__{key}": "v" for key in OURS_IN_GENERAL if key != "results"},
    ),
    Case(
        "dlt's names and ours in `stats`",
        stats=STATS | dict.fromkeys(OURS_IN_STATS, "v"),
        seen_stats={"status": "completed", "results_received": 1} | {f"stats__{key}": "v" for key in OURS_IN_STATS},
    ),
    Case("a key twice in a result", results=[Raw(as_json(RESULT)[:-1] + ',"index":5}')], rows=(ROW | {"index": 5},)),
]


def test_no_odd_answer_stops_another_batch_and_none_is_lost(
    api: SimulatedEnrow, warehouse: Warehouse, load: Load
) -> None:
    batches = {f"odd-{number:02}": case for number, case in enumerate(CASES)}
    ids = []
    for batch_id, case in batches.items():
        ids += [api.respond(batch_id, case.answer(batch_id)), healthy(api, f"healthy-{batch_id}")]
    report = load(ids)

    seen = outcomes(warehouse)
    assert {batch_id: api.looks(batch_id) for batch_id in ids} == dict.fromkeys(ids, 1)
    usual = seen["healthy-odd-00"]
    assert usual == Outcome(usual.batches, usual.stats, [ROW], [])
    assert all(seen[f"healthy-{batch_id}"] == usual for batch_id in batches)
    for batch_id, case in batches.items():
        assert_as_expected(case, seen[batch_id])
    errors = sum(case.error is not None for case in CASES)
    pending = sum(case.batch["status"] != "completed" for case in CASES)
    assert (report.completed, report.other, report.unreadable) == (2 * len(CASES) - errors - pending, pending, errors)
    faults_page.check("Hostile and odd answers", [message(case, seen[i], usual) for i, case in batches.items()])


def assert_as_expected(case: Case, outcome: Outcome) -> None:
    if case.error is not None:
        kind, status, message = outcome.error
        assert (kind, status) == ("invalid_response", 200), case.what
        assert message.startswith(case.error), case.what
        return
    assert outcome.errors == [], case.what
    assert outcome.batches == [case.batch], case.what
    assert outcome.results == list(case.rows), case.what
    (stats,) = outcome.stats
    assert stats == stats | case.seen_stats, case.what


def message(case: Case, outcome: Outcome, usual: Outcome) -> Seen:
    if case.error is not None:
        return Seen(case.what, "went on without it", faults_page.shown_error(outcome))
    did = "loaded it" if case.batch["status"] == "completed" else "recorded it; looks again next time"
    return Seen(case.what, did, faults_page.shown_loaded(outcome, usual))


# Too much ------------------------------------------------------------------------------------------------------------


def test_5000_keys_get_300_columns_and_a_warning(
    api: SimulatedEnrow, warehouse: Warehouse, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    keys = {f"key_{number:04}": f"value {number}" for number in range(5_000)}
    params = {"linkedin_url": PROFILE} | keys
    general = {"id": "keys", "status": "completed"}
    api.respond("keys", {"general": general, "stats": STATS, "results": [RESULT | {"params": params}]})
    load([healthy(api, "healthy"), "keys"])

    seen = outcomes(warehouse)
    (row,) = seen["keys"].results
    own = {column: value for column, value in row.items() if column.startswith("params__key_")}
    overflow = json.loads(row["params__overflow"])
    assert (len(own), len(overflow)) == (300, 4_700)
    assert {column.removeprefix("params__"): value for column, value in own.items()} | overflow == keys
    assert seen["healthy"].results == [ROW]
    (warning,) = [message for message in caplog.messages if "overflow" in message]
    assert "4700 undocumented fields for phone_results" in warning
    faults_page.check(
        "Too much",
        [
            Seen(
                "5,000 keys in `params`, that nobody has documented",
                f"loaded it: {len(own)} columns, and a warning",
                f"`phone_results.params__overflow` has the other {len(overflow):,}",
            ),
            *told_too_large(api, warehouse, load),
        ],
    )


def told_too_large(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> Iterator[Seen]:
    """Load answers past the limit, which stands at 1 MB here."""
    long = b'{"general":{"id":"long","status":"completed"},"x":"' + b"x" * 1_100_000 + b'"}'
    answers = {
        "a body past `max_response_mb`": Response(body=long),
        "a chunked body past `max_response_mb`": Response(body=long, chunked=True),
        "a gzipped body that is past `max_response_mb` when unpacked": Response(body=long, gzip=True),
        "500 with a body past `max_response_mb`": Response(500, long),
    }
    batches = {f"long-{number}": what for number, what in enumerate(answers)}
    for batch_id, what in batches.items():
        api.respond(batch_id, answers[what])
    load([*batches, healthy(api, "healthy-too")], max_response_mb=1)
    seen = outcomes(warehouse)
    assert seen["healthy-too"].results == [ROW]
    for batch_id, what in batches.items():
        kind, status, message = seen[batch_id].error
        assert (kind, status, api.looks(batch_id)) == ("too_large", answers[what].status, 1)
        assert message == "the body is larger than max_response_mb, 1"
        yield Seen(what, "went on without it after 1 request", faults_page.shown_error(seen[batch_id]))


CHILD = """
import sys
from pathlib import Path
from enrow_source.cli.run import main
code = main(sys.argv[1:])
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmHWM:"):
        print("peak", int(line.split()[1]) * 1024 // 1_000_000)
sys.exit(code)
"""


def test_answers_without_end_stay_small_in_memory(tmp_path: Path) -> None:
    with serving_without_end() as url:
        # What one of them held has to be let go before the next one.
        large = ["200 MB", "200 MB, again", "200 MB, once more", "500 MB in a gzip"]
        unpacked = peak_mb(tmp_path / "bytes", url, [*large, "healthy"], ExitCode.PARTIAL)
        keys = peak_mb(tmp_path / "keys", url, ["30,000 keys", "healthy"], ExitCode.OK)
    limit = "the body is larger than max_response_mb, 64"
    seen = outcomes(Warehouse(tmp_path / "bytes")) | outcomes(Warehouse(tmp_path / "keys"))
    assert seen["healthy"].results == [ROW]
    assert [seen[batch_id].error for batch_id in large] == [("too_large", 200, limit)] * len(large)
    assert (len(seen["30,000 keys"].results), seen["30,000 keys"].errors) == (3_000, [])
    assert sum(len(values_of_keys(row)) for row in seen["30,000 keys"].results) == 30_000
    # An empty run takes 220 MB.
    assert unpacked < 350
    assert keys < 450
    went_on = "went on without it, in less than 350 MB of memory"
    faults_page.check(
        "Without end",
        [
            Seen("a chunked body of 200 MB, three times", went_on, faults_page.shown_error(seen["200 MB"])),
            Seen("a gzipped body of 500 MB", went_on, faults_page.shown_error(seen["500 MB in a gzip"])),
            Seen(
                "3,000 results, 10 keys in each that no other has",
                "loaded it, in less than 450 MB of memory",
                "`phone_results`: 300 columns, and `params__overflow`",
            ),
        ],
    )


def values_of_keys(row: Row) -> dict[str, str]:
    own = {column: value for column, value in row.items() if column.startswith("params__key_")}
    overflow: dict[str, str] = json.loads(row.get("params__overflow", "{}"))
    return own | overflow


def peak_mb(folder: Path, url: str, ids: list[str], code: ExitCode) -> int:
    """Run the pipeline as a process of its own; return the most memory it held."""
    folder.mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, *ids, "--base-url", url, "--connections", "1"],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "DLT_DATA_DIR": str(folder / "dlt"),
            "ENROW_API_KEY": "enrow-test-key",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    return int(ended.stdout.split()[-1])


MB = b" " * 1_000_000


def body_of_200_mb() -> Iterator[bytes]:
    yield b'{"general":{"id":"200 MB","status":"completed"},"x":"'
    yield from (MB for _ in range(200))
    yield b'"}'


def bomb() -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)
    yield from (packer.compress(MB) for _ in range(500))
    yield packer.flush()


def keys_in_every_result() -> Iterator[bytes]:
    results = [{"index": row, "params": {f"key_{row}_{key}": "v" for key in range(10)}} for row in range(3_000)]
    yield encoded({"general": {"id": "30,000 keys", "status": "completed"}, "results": results})


def well() -> Iterator[bytes]:
    yield encoded({"general": {"id": "healthy", "status": "completed"}, "stats": STATS, "results": [RESULT]})


WITHOUT_END: Mapping[str, tuple[Callable[[], Iterator[bytes]], Mapping[str, str]]] = {
    "200 MB": (body_of_200_mb, {}),
    "500 MB in a gzip": (bomb, {"Content-Encoding": "gzip"}),
    "30,000 keys": (keys_in_every_result, {}),
    "healthy": (well, {}),
}


class _WithoutEnd(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        (batch_id,) = parse_qs(urlsplit(self.path).query)["id"]
        pieces, headers = WITHOUT_END[batch_id.split(", ")[0]]
        self.send_response(200)
        for name, value in {"Transfer-Encoding": "chunked", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # whom it is too much
            for piece in filter(None, pieces()):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving_without_end() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _WithoutEnd) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# Ids -----------------------------------------------------------------------------------------------------------------

IDS = {
    "x' OR 1=1 --": "SQL",
    "x'; DROP TABLE enrow_data.batches; --": "more SQL",
    '"; DROP TABLE "batches"; --': "SQL in double quotes",
    "%s": "a parameter of Python's drivers",
    "%(id)s": "a named one",
    "?": "a parameter of other drivers",
    "$1": "another one",
    "a\\": "a backslash",
    "../": "a path",
    "../../account/info": "another path",
    "//other.example/": "another host",
    "a&id=b": "another parameter",
    "a=b#c?d;e": "all that a URL knows",
    "%00": "a percent escape",
    "%2e%2e%2f": "more of them",
    "a+b c": "a plus and a blank",
    "two\nlines": "a newline",
    "two\r\nx-header: 1": "a header",
    "tab\tbell\a": "control characters",
    "{id}": "braces",
    "<script>": "HTML",
    "é\u202eß日本": "no ASCII",
    "\U0001f600": "an emoji",
    "NULL": "SQL's null",
    "i" * 5_000: "5,000 characters",
}


def test_no_odd_id_gets_into_sql_or_the_url(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> None:
    ids = list(IDS)
    for batch_id in ids:
        loaded = {"general": {"id": batch_id, "status": "completed"}, "stats": STATS, "results": [RESULT]}
        api.respond(batch_id, bodies.ongoing(batch_id, 1, 0), loaded)
    first = load(ids)
    assert (first.ongoing, first.unreadable) == (len(ids), 0)
    assert sorted(request.query for request in api.requests) == sorted(f"id={quote_plus(i)}" for i in ids)
    assert {request.path for request in api.requests} == {"/phone/bulk"}

    # Without their names: the ledger has them.
    second = load([])
    assert (second.completed, second.unreadable) == (len(ids), 0)
    # With few ids they are named in the statement, with many they are not.
    many = [f"pad-{number:03}" for number in range(501)]
    assert load(ids).fetched == 0
    assert load([*ids, *many], max_batches=1).fetched == 1
    assert {batch_id: api.looks(batch_id) for batch_id in ids} == dict.fromkeys(ids, 2)

    seen = outcomes(warehouse)
    assert [i for i in ids if seen[i].results != [ROW] or seen[i].batches != [{"status": "completed"}]] == []
    results = {"batches", "batch_stats", "phone_results", "phone_results_ledger", "batch_errors"}
    assert warehouse.tables() == {*results, "enrow_runs"}
    faults_page.check(
        "Hostile and odd ids",
        [
            Seen(
                f"{faults_page.shown(batch_id)}, {what}",
                f"asked for it {api.looks(batch_id)} times: ongoing, then completed",
                f"`batches`, `phone_results`: {len(seen[batch_id].results)} row",
            )
            for batch_id, what in IDS.items()
        ],
    )


@pytest.mark.parametrize("batch_id", ["a\0b", "a\ud800b"], ids=["NUL", "surrogate"])
def test_an_id_that_no_destination_can_store_is_refused(api: SimulatedEnrow, load: Load, batch_id: str) -> None:
    with pytest.raises(InvalidBatchIdError, match=r"batch_ids\[1\]"):
        load([healthy(api, "healthy"), batch_id])
    assert api.requests == []


# Postgres ------------------------------------------------------------------------------------------------------------


def test_postgres_takes_what_it_refuses_itself(
    api: SimulatedEnrow, load: Load, postgres: "Postgres", tmp_path: Path
) -> None:
    unstorable = "a\0b\ud800c"
    params: Row = {"linkedin_url": PROFILE, "firstname": unstorable, unstorable: unstorable}
    custom = {unstorable: [unstorable]}
    general: Row = {"status": "completed", "custom": custom, unstorable: unstorable}
    for batch_id in ("NUL", *IDS):
        result = RESULT | {"custom": custom, "params": params}
        stats = STATS | {unstorable: unstorable}
        answer: Row = {"general": {"id": batch_id, **general}, "stats": stats, "results": [result]}
        api.respond(batch_id, as_json(answer).encode())
    api.respond("message", Response(400, b'{"message": "a\\u0000b"}'))
    api.respond("surrogate", Response(400, b'{"message": "a\\ud800b"}'))
    api.respond("long key", Case("", results=[RESULT | {"params": {LONG: "1", LONG + "x": "2"}}]).answer("long key"))
    postgres_pipeline = dlt.pipeline(
        "hostile",
        destination=dlt.destinations.postgres(postgres.url),
        dataset_name="hostile",
        pipelines_dir=str(tmp_path / "pipelines"),
    )
    ids = ["NUL", *IDS, "message", "surrogate", "long key"]
    report = load(ids, pipeline=postgres_pipeline)
    assert (report.completed, report.unreadable) == (len(IDS) + 2, 2)
    assert load(ids[:-3], pipeline=postgres_pipeline).fetched == 0

    rows = postgres.query("SELECT * FROM hostile.phone_results WHERE batch_id = 'NUL'")
    assert [row["params__firstname"] for row in rows] == ["a�b�c"]
    assert [json.loads(row["custom"]) for row in rows] == [{"a�b�c": ["a�b�c"]}]
    found = postgres.query("SELECT batch_id FROM hostile.phone_results ORDER BY 1")
    assert sorted(row["batch_id"] for row in found) == sorted(["NUL", *IDS, "long key"])
    (long,) = postgres.query("SELECT * FROM hostile.phone_results WHERE batch_id = 'long key'")
    assert sorted(value for column, value in long.items() if column.startswith("params__long")) == ["1", "2"]
    messages = postgres.query("SELECT batch_id, message FROM hostile.batch_errors ORDER BY 1")
    assert [row["message"] for row in messages] == ["a�b", "Bad Request"]


# Any bytes -----------------------------------------------------------------------------------------------------------


def test_any_bytes_are_rows_or_one_error() -> None:
    seed = time.time_ns()
    tally = fuzz(seed, seconds=2)
    assert not tally.failures, "\n".join(tally.failures.values())
    assert tally.loaded
    assert tally.errors
