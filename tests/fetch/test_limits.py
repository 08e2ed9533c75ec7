"""Responses past the limits: too many keys, too many bytes, no end."""

import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from enrow_source.runner.report import ExitCode
from enrow_source.testing import Response, SimulatedEnrow
from enrow_source.testing.responses import encoded
from tests.conftest import Load
from tests.support import REPOSITORY, faults_page
from tests.support.faults_page import Seen, batch_rows
from tests.support.malformed import PROFILE, RESULT, ROW, STATS, healthy
from tests.support.warehouse import Row, Warehouse


@pytest.mark.slow
def test_5000_keys_get_300_columns_and_a_warning(
    api: SimulatedEnrow, warehouse: Warehouse, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    keys = {f"key_{number:04}": f"value {number}" for number in range(5_000)}
    params = {"linkedin_url": PROFILE} | keys
    general = {"id": "keys", "status": "completed"}
    api.respond("keys", {"general": general, "stats": STATS, "results": [RESULT | {"params": params}]})
    load([healthy(api, "healthy"), "keys"])

    seen = batch_rows(warehouse)
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
            *too_large_rows(api, warehouse, load),
        ],
    )


def too_large_rows(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> Iterator[Seen]:
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
    seen = batch_rows(warehouse)
    assert seen["healthy-too"].results == [ROW]
    for batch_id, what in batches.items():
        kind, status, message = seen[batch_id].error
        assert (kind, status, api.fetches(batch_id)) == ("too_large", answers[what].status, 1)
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


@pytest.mark.slow
def test_answers_without_end_stay_small_in_memory(tmp_path: Path) -> None:
    with serving_without_end() as url:
        # What one of them held has to be let go before the next one.
        large = ["200_MB", "200_MB_again", "200_MB_once_more", "500_MB_in_a_gzip"]
        unpacked = peak_mb(tmp_path / "bytes", url, [*large, "healthy"], ExitCode.PARTIAL)
        keys = peak_mb(tmp_path / "keys", url, ["30000_keys", "healthy"], ExitCode.OK)
    limit = "the body is larger than max_response_mb, 64"
    seen = batch_rows(Warehouse(tmp_path / "bytes")) | batch_rows(Warehouse(tmp_path / "keys"))
    assert seen["healthy"].results == [ROW]
    assert [seen[batch_id].error for batch_id in large] == [("too_large", 200, limit)] * len(large)
    assert (len(seen["30000_keys"].results), seen["30000_keys"].errors) == (3_000, [])
    assert sum(len(values_of_keys(row)) for row in seen["30000_keys"].results) == 30_000
    # An empty run takes 220 MB.
    assert unpacked < 350
    assert keys < 450
    went_on = "went on without it, in less than 350 MB of memory"
    faults_page.check(
        "Without end",
        [
            Seen("a chunked body of 200 MB, three times", went_on, faults_page.shown_error(seen["200_MB"])),
            Seen("a gzipped body of 500 MB", went_on, faults_page.shown_error(seen["500_MB_in_a_gzip"])),
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
    yield b'{"general":{"id":"200_MB","status":"completed"},"x":"'
    yield from (MB for _ in range(200))
    yield b'"}'


def bomb() -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)
    yield from (packer.compress(MB) for _ in range(500))
    yield packer.flush()


def keys_in_every_result() -> Iterator[bytes]:
    results = [{"index": row, "params": {f"key_{row}_{key}": "v" for key in range(10)}} for row in range(3_000)]
    yield encoded({"general": {"id": "30000_keys", "status": "completed"}, "results": results})


def well() -> Iterator[bytes]:
    yield encoded({"general": {"id": "healthy", "status": "completed"}, "stats": STATS, "results": [RESULT]})


WITHOUT_END: Mapping[str, tuple[Callable[[], Iterator[bytes]], Mapping[str, str]]] = {
    "200_MB": (body_of_200_mb, {}),
    "500_MB_in_a_gzip": (bomb, {"Content-Encoding": "gzip"}),
    "30000_keys": (keys_in_every_result, {}),
    "healthy": (well, {}),
}


class _WithoutEnd(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        batch_ids = parse_qs(urlsplit(self.path).query).get("id")
        if batch_ids is None:  # the balance of the account
            self.send_error(404)
            return
        pieces, headers = WITHOUT_END[re.sub(r"_again|_once_more", "", batch_ids[0])]
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
