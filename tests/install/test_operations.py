"""What a schedule does, from the wheel in an empty folder: runs that are killed, checks, erasures, and their memory."""

import signal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from enrow_source.testing import SimulatedEnrow, bodies
from tests.support.wheel import Installation

pytest_plugins = ("tests.support.wheel",)

KILLED_IN_ITS_LOAD = """
import os, signal, sys, threading
from dlt.destinations.impl.duckdb.duck import DuckDbCopyJob
from enrow_source.cli import main

copy = DuckDbCopyJob.run

def copy_batches_and_die(job):
    if job.job_file_info().table_name != "batches":
        threading.Event().wait()
    copy(job)
    os.kill(os.getpid(), signal.SIGKILL)

DuckDbCopyJob.run = copy_batches_and_die
sys.exit(main(sys.argv[1:]))
"""

RUN_AND_PRINT_PEAK = """
import sys
from pathlib import Path
from enrow_source.cli import main

code = main(sys.argv[1:])
print(*(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")))
sys.exit(code)
"""


@pytest.fixture
def environ(api: SimulatedEnrow) -> dict[str, str]:
    return {"ENROW_API_KEY": api.api_key, "SOURCES__ENROW__ENROW_BASE_URL": api.url}


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute(f"USE enrow_data; {sql}").fetchall()


@pytest.mark.slow
def test_kill_in_the_load_then_run_again(
    installed: Installation, api: SimulatedEnrow, environ: dict[str, str], tmp_path: Path
) -> None:
    """The next run loads again what a run killed after the first copy of its load has fetched."""
    ids = [api.add_completed("a", 3), api.add_completed("b", 2)]
    # Enough workers, or those that wait would leave none for the copy of `batches`.
    dying = environ | {"LOAD__WORKERS": "20"}
    killed = installed.run(tmp_path, "python", "-c", KILLED_IN_ITS_LOAD, "run", *ids, env=dying, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert query(tmp_path, "SELECT count(*) FROM batches") == [(2,)]
    assert query(tmp_path, "SELECT count(*) FROM phone_results") == [(0,)]

    api.add_completed("c", 1)
    installed.run(tmp_path, "enrow", "run", *ids, "c", env=environ)
    expected = [
        (batch_id, result["index"], result.get("number"))
        for batch_id, results in (("a", 3), ("b", 2), ("c", 1))
        for result in bodies.completed(batch_id, results)["results"]
    ]
    assert query(tmp_path, 'SELECT batch_id, "index", number FROM phone_results ORDER BY ALL') == expected
    assert [api.fetches(batch_id) for batch_id in (*ids, "c")] == [2, 2, 1]


def test_check_passes_in_an_empty_folder(
    installed: Installation, environ: dict[str, str], tmp_path: Path, api: SimulatedEnrow
) -> None:
    """`enrow check` finds nothing wrong, and leaves neither a file nor a request for a batch behind."""
    before = sorted(path.name for path in tmp_path.iterdir())
    printed = installed.run(tmp_path, "enrow", "check", env=environ).stdout
    assert "FAILED" not in printed
    assert len(printed.splitlines()) >= 4
    assert [request.path for request in api.requests if request.path == "/phone/bulk"] == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "dlt") == before


@pytest.mark.slow
def test_erase_counts_and_erases(
    installed: Installation, api: SimulatedEnrow, environ: dict[str, str], tmp_path: Path
) -> None:
    """`enrow erase` counts what would go, and with `--execute` it goes and no later run brings it back."""
    ids = [api.add_completed("kept", 2), api.add_completed("gone", 3)]
    installed.run(tmp_path, "enrow", "run", *ids, env=environ)
    counted = installed.run(tmp_path, "enrow", "erase", "--batch-id", "gone", env=environ).stdout
    assert counted.splitlines()[-1] == "nothing was changed: --execute does it"
    assert any(line.split() == ["rows", "to", "erase", "3", "phone_results"] for line in counted.splitlines())
    erased = installed.run(tmp_path, "enrow", "erase", "--batch-id", "gone", "--execute", env=environ).stdout
    assert any(line.split() == ["rows", "erased", "3", "phone_results"] for line in erased.splitlines())
    installed.run(tmp_path, "enrow", "run", *ids, env=environ)
    assert query(tmp_path, "SELECT batch_id, count(*) FROM phone_results GROUP BY ALL") == [("kept", 2)]


@pytest.mark.slow
def test_the_module_runs_on_the_simulated_api(installed: Installation, tmp_path: Path) -> None:
    """`python -m enrow_source run` loads from `enrow simulate`, both from the wheel."""
    simulating = installed.start(tmp_path, "enrow", "simulate", "--api-key", "k")
    try:
        assert simulating.stdout is not None
        url = simulating.stdout.readline().split()[-1]
        arguments = ("-m", "enrow_source", "run", "demo-none-found", "--base-url", url)
        installed.run(tmp_path, "python", *arguments, env={"ENROW_API_KEY": "k"})
        simulating.terminate()
        simulating.communicate(timeout=30)
    finally:
        simulating.kill()
    assert simulating.returncode == 0
    assert query(tmp_path, "SELECT qualification, count(*) FROM phone_results GROUP BY 1") == [("not_found", 10)]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(
    installed: Installation, api: SimulatedEnrow, environ: dict[str, str], tmp_path: Path
) -> None:
    """The most memory that `enrow run` holds: 30 full batches take little more than one."""
    body = bodies.completed("full", 3_000)

    def peak_mb(name: str, batches: int) -> int:
        folder = tmp_path / name
        folder.mkdir()
        ids = [f"{name}-{number}" for number in range(batches)]
        for batch_id in ids:
            api.respond(batch_id, body | {"general": {"id": batch_id, "status": "completed"}})
        printed = installed.run(folder, "python", "-c", RUN_AND_PRINT_PEAK, "run", *ids, env=environ).stdout
        assert query(folder, "SELECT count(*) FROM phone_results") == [(3_000 * batches,)]
        return int(printed.split()[-1]) * 1024 // 1_000_000

    one, many = peak_mb("one", 1), peak_mb("many", 30)
    assert one < 350
    assert many < one + 150
