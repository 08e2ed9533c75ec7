"""SIGTERM, Ctrl-C and `deadline_s`: the run ends soon, wherever it is, and the next one goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from enrow_source import ExitCode, run
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.testing import Response, SimulatedEnrow, bodies

REPOSITORY: Final = Path(__file__).parents[2]

ENDLESS = """
import sys
import dlt
from enrow_source import run

@dlt.resource
def ids():
    print("reading", flush=True)
    number = 0
    while True:
        number += 1
        yield f"batch-{number}"

report = run([ids])
print(report)
sys.exit(report.exit_code)
"""

IMPORTS = """
import sys, threading
from enrow_source import run

late = []

def audit(event, arguments):
    if event == "import" and threading.current_thread().name.startswith("enrow-"):
        late.append(arguments[0])

sys.addaudithook(audit)
run(sys.argv[1:])
print("late:", *sorted(set(late)))
"""


SIGNALLED = """
import os, signal, sys
import dlt
from dlt.common.runtime.collector_base import Collector
from enrow_source import build_pipeline, run

class Signal(Collector):
    sent = is_loading = False
    updates = 0

    def send(self):
        if not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGTERM)

    def _start(self, step):
        self.is_loading = step.startswith("Load")
        if step.startswith("Normalize") and sys.argv[1] == "before":
            self.send()

    def update(self, name, *_, **__):
        self.updates += self.is_loading and name == "Jobs"
        if self.updates == 2:  # one job is done
            self.send()

    def _stop(self): ...

build_pipeline().run([{"name": "other"}], table_name="others", schema=dlt.Schema("other"))
run(["shrinks"])
pipeline = build_pipeline()
pipeline.collector = Signal()
sys.exit(run(["shrinks"], pipeline=pipeline, refetch=True).exit_code)
"""


@pytest.fixture
def started(api: SimulatedEnrow, tmp_path: Path) -> "Started":
    return Started(api, tmp_path)


class Started:
    """Starts Python with the simulated API configured."""

    def __init__(self, api: SimulatedEnrow, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "DLT_DATA_DIR": str(folder / "dlt"),
            "ENROW_API_KEY": api.api_key,
            "SOURCES__ENROW__ENROW_BASE_URL": api.url,
            "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.01",
        }

    def __call__(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=self.folder, env=self.env, stdout=subprocess.PIPE, text=True
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_the_reading_of_ids(number: signal.Signals, started: Started) -> None:
    """Three million ids were still being read 60 s after SIGTERM."""
    with started("-c", ENDLESS) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "reading\n"
        time.sleep(0.2)
        running.send_signal(number)
        began = time.monotonic()
        assert running.wait(timeout=60) == ExitCode.INTERRUPTED
        assert time.monotonic() - began < 20
        assert "stopped early      stopped" in running.stdout.read()
    assert started.api.requests == []


@pytest.mark.slow
def test_the_deadline_ends_the_reading_of_ids(api: SimulatedEnrow, tmp_path: Path) -> None:
    """The cursor stays where it was: the next run reads the same ids, and nothing has to be deferred."""
    ids = [api.add_completed(f"batch-{number}", 1) for number in range(20)]
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
    access: dict[str, Any] = {"enrow_api_key": api.api_key, "enrow_base_url": api.url, "batch_ids_file": "ids.txt"}
    pipeline = build_pipeline()

    report = run([], pipeline=pipeline, deadline_s=1e-9, **access)
    assert (report.exit_code, report.fetched, report.stop_reason) == (ExitCode.INTERRUPTED, 0, "deadline")
    assert api.requests == []
    report = run([], pipeline=pipeline, **access)
    assert (report.exit_code, report.completed) == (ExitCode.OK, 20)
    with duckdb.connect("warehouse.duckdb") as connection:
        tables = connection.execute("SELECT table_name FROM information_schema.tables").fetchall()
        assert ("deferred_batch_ids",) not in tables


@pytest.mark.slow
def test_ctrl_c_ends_a_run_with_what_it_has(api: SimulatedEnrow, started: Started, tmp_path: Path) -> None:
    ids = [api.add_completed("done", 2), api.respond("no-answer", Response(body=b" " * 100, stall_after=10))]
    with started("-m", "enrow_source", "run", *ids) as running:
        while not all(api.fetches(batch_id) for batch_id in ids):
            assert running.poll() is None
            time.sleep(0.02)
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == ExitCode.INTERRUPTED
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT batch_id FROM enrow_data.batches").fetchall() == [("done",)]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_after_the_load_loses_no_row(number: signal.Signals, started: Started, tmp_path: Path) -> None:
    """It arrives while the balance is asked for, and ends nothing that has not ended."""
    api = started.api
    batch_id, api.latency_s = api.add_completed("done", 1), 0.5
    with started("-m", "enrow_source", "run", batch_id) as running:
        while not any(request.path == "/account/info" for request in api.requests):
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(number)
        assert running.wait(timeout=30) == ExitCode.OK
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT exit_code FROM enrow_data.enrow_runs").fetchall() == [(0,)]


def test_a_signal_before_the_load_begins(started: Started, tmp_path: Path) -> None:
    """What is loaded then replaces what it has to: a batch that came back without results has none.

    The pipeline has another source too, so that its state is in a package beside that of this source.
    """
    started.api.respond("shrinks", bodies.completed("shrinks", 3), bodies.completed("shrinks", 0))
    with started("-c", SIGNALLED, "before") as running:
        assert running.wait(timeout=30) == ExitCode.OK
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT results_loaded FROM enrow_data.phone_results_ledger").fetchall() == [(0,)]
        assert connection.execute("SELECT batch_id FROM enrow_data.phone_results").fetchall() == []


def test_a_signal_after_the_load_has_begun(started: Started, tmp_path: Path) -> None:
    """Without new jobs the load ends half-way, and its lock goes: the next run gives it up, and fetches again."""
    started.api.respond("shrinks", bodies.completed("shrinks", 3), bodies.completed("shrinks", 2))
    started.env["LOAD__START_NEW_JOBS_ON_SIGNAL"] = "false"
    with started("-c", SIGNALLED, "begun") as running:
        assert running.wait(timeout=30) not in (ExitCode.OK, ExitCode.PARTIAL)
    with started("-m", "enrow_source", "run", "shrinks", "--refetch") as running:
        assert running.wait(timeout=30) == ExitCode.OK
    assert started.api.fetches("shrinks") == 3
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        for table in ("batches", "batch_stats", "phone_results_ledger", "phone_results"):
            rows = connection.execute(f"SELECT batch_id, _dlt_load_id FROM enrow_data.{table}").fetchall()
            assert (table, len(rows), len(set(rows))) == (table, 2 if table == "phone_results" else 1, 1)


def test_a_second_ctrl_c_ends_at_once(started: Started) -> None:
    stalls = started.api.respond("no-answer", Response(body=b" " * 100, stall_after=10))
    with started("-m", "enrow_source", "run", stalls) as running:
        while not started.api.fetches(stalls):
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert running.wait(timeout=30) in (130, -signal.SIGINT)
        assert time.monotonic() - began < 10


@pytest.mark.slow
def test_no_thread_of_ours_imports(api: SimulatedEnrow, started: Started) -> None:
    """Threads that import while a signal ends an import in the main one wait for each other forever."""
    ids = [
        api.add_completed("done", 2),
        "unknown",
        api.respond("limited", Response.rate_limited(0)),
        api.respond("broken", Response(status=500)),
        api.respond("cut", Response(body=b"{", stall_after=1)),
    ]
    with started("-c", IMPORTS, *ids) as running:
        shown, _ = running.communicate(timeout=120)
    assert shown.splitlines()[-1] == "late:"
