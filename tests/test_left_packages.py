"""Load packages that a killed or failed run has left: loaded by nobody else, and in nobody's way."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import ConfigurationError, enrow_source, run
from enrow_source.cli import main
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.testing import SimulatedEnrow, bodies
from tests.conftest import NewSource

KILLED = """
import os, signal, sys
import dlt
import pyarrow.parquet as pq
from dlt.common.destination.client import RunnableLoadJob
from dlt.common.storages import LoadStorage
from dlt.destinations.job_client_impl import SqlLoadJob
from enrow_source import enrow_source
from enrow_source.destination import guard

point, url, file, *ids = sys.argv[1:]
owner, method = (RunnableLoadJob, "_release") if point in ("copied", "ledger") else (SqlLoadJob, "run")
original = getattr(owner, method)

def die(job, *arguments):
    is_merge, is_results = isinstance(job, SqlLoadJob), job.job_file_info().table_name == "phone_results"
    is_results = is_results and (is_merge or pq.read_metadata(job._file_path).num_rows > 0)
    if point == "merged" or is_merge or not is_results:
        original(job, *arguments)
    if is_results and is_merge == (point == "merged"):
        os.kill(os.getpid(), signal.SIGKILL)

def commit_and_die(storage, *arguments):
    commit(storage, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)

def copy_the_ledger_and_die(job, *arguments):
    original(job, *arguments)
    if job.job_file_info().table_name == "phone_results_ledger":
        os.kill(os.getpid(), signal.SIGKILL)

def note_and_die(*arguments):
    note_begun(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

commit, note_begun = LoadStorage.commit_new_load_package, guard.note_begun
if point == "begun":
    guard.note_begun = note_and_die
elif point == "ledger":
    RunnableLoadJob._release = copy_the_ledger_and_die
elif point == "normalized":
    LoadStorage.commit_new_load_package = commit_and_die
else:
    setattr(owner, method, die)
pipeline = dlt.pipeline("enrow", destination=dlt.destinations.duckdb(file), dataset_name="enrow_data")
pipeline.run(enrow_source(ids, enrow_base_url=url))
"""


def run_plain(api: SimulatedEnrow, *ids: str) -> None:
    """Call `pipeline.run`."""
    pipeline = dlt.pipeline("enrow", destination=dlt.destinations.duckdb("warehouse.duckdb"), dataset_name="enrow_data")
    pipeline.run(enrow_source(ids, **options_of(api)))


def run_killed(api: SimulatedEnrow, point: str, *ids: str) -> None:
    """Call `pipeline.run` in a process of its own, killed at a point of it."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, point, api.url, "warehouse.duckdb", *ids],
        env={**os.environ, "ENROW_API_KEY": api.api_key, "LOAD__WORKERS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def results() -> list[tuple[Any, ...]]:
    """Return how many results each batch has in the table, and how many the ledger says."""
    with duckdb.connect("warehouse.duckdb") as connection:
        return connection.execute(
            "SELECT l.batch_id, results_loaded, (SELECT count(*) FROM enrow_data.phone_results r"
            " WHERE r.batch_id = l.batch_id) FROM enrow_data.phone_results_ledger l ORDER BY 1"
        ).fetchall()


def test_copies_of_a_killed_load_are_not_merged_twice(api: SimulatedEnrow) -> None:
    """`pipeline.run`, killed after the copy of `phone_results` and before dlt notes it, and again."""
    run_plain(api, api.add_completed("earlier", 2))
    api.add_completed("done", 5)
    run_killed(api, "copied", "done")
    run_plain(api, "done")
    assert results() == [("done", 5, 5), ("earlier", 2, 2)]


@pytest.mark.slow
def test_a_killed_first_load_is_not_an_old_one(api: SimulatedEnrow) -> None:
    """A first load without results is killed with the ledger committed, and the next one when it begins."""
    api.respond("failed", bodies.failed("failed"))
    run_killed(api, "ledger", "failed")
    run_killed(api, "begun", "failed", api.add_completed("done", 2))
    run_plain(api, "done")
    run_plain(api, "done")
    with duckdb.connect("warehouse.duckdb") as connection:
        complete = connection.execute(
            "SELECT batch_id FROM enrow_data.batches JOIN enrow_data._dlt_loads l ON l.load_id = _dlt_load_id"
            " WHERE l.status = 0 ORDER BY 1"
        ).fetchall()
    assert complete == [("done",), ("failed",)]


@pytest.mark.slow
def test_a_package_that_is_in_two_places(api: SimulatedEnrow) -> None:
    """A package whose normalized copy a killed run has left is normalized again: dlt would stop at it forever."""
    run_plain(api, api.add_completed("a", 3))
    run_killed(api, "normalized", api.add_completed("b", 2))
    run_plain(api, "b")
    # dlt loads what is left, instead of what it is given.
    run_plain(api, "b")
    assert results() == [("a", 3, 3), ("b", 2, 2)]


@pytest.mark.parametrize(
    "point, then",
    [
        pytest.param("copied", "failed", marks=pytest.mark.slow),
        pytest.param("copied", "empty", marks=pytest.mark.slow),
        ("copied", "ongoing"),
        pytest.param("merged", "ongoing", marks=pytest.mark.slow),
    ],
)
def test_rows_of_a_killed_load_have_an_owner(api: SimulatedEnrow, point: str, then: str) -> None:
    """A load is killed after it appended or merged `phone_results`, and the batch comes back without results."""
    again = {
        "failed": bodies.failed("done"),
        "empty": bodies.completed("done", 0),
        "ongoing": bodies.ongoing("done", 5, 1),
    }
    earlier = []
    if point == "merged":
        earlier = [(0,)]
        api.respond("done", *[bodies.completed("done", 5)] * 2, again[then])
        run_plain(api, "done")
        with duckdb.connect("warehouse.duckdb") as connection:
            connection.execute("UPDATE enrow_data.batches SET status = 'ongoing'")  # what has results is merged
    else:
        api.respond("done", bodies.completed("done", 5), again[then])
    run_killed(api, point, "done")
    with duckdb.connect("warehouse.duckdb") as connection:
        assert connection.execute("SELECT count(*) FROM enrow_data.phone_results").fetchall() == [(5,)]
    run_plain(api, "done")
    assert results() == [("done", 0, 0)]
    with duckdb.connect("warehouse.duckdb") as connection:
        assert connection.execute("SELECT count(*) FROM enrow_data.phone_results").fetchall() == [(0,)]
        statuses = connection.execute("SELECT status FROM enrow_data._dlt_loads ORDER BY 1").fetchall()
        assert statuses == [*earlier, (0,), (2,)]


def options_of(api: SimulatedEnrow) -> dict[str, Any]:
    return {"enrow_api_key": api.api_key, "enrow_base_url": api.url}


@pytest.mark.slow
def test_two_datasets_have_two_folders(api: SimulatedEnrow) -> None:
    """What a run for one client has left is not loaded into the dataset of another one."""
    theirs, ours = build_pipeline(dataset_name="client_a"), build_pipeline(dataset_name="client_b")
    assert theirs.working_dir != ours.working_dir
    run([], pipeline=theirs, **options_of(api))
    theirs.extract(enrow_source([api.add_completed("a", 3)], **options_of(api)))
    run([api.add_completed("b", 2)], pipeline=ours, **options_of(api))
    assert run([], pipeline=theirs, **options_of(api)).recovered == 1
    with duckdb.connect("warehouse.duckdb") as connection:
        for dataset, batch_id in (("client_a", "a"), ("client_b", "b")):
            found = connection.execute(f"SELECT DISTINCT batch_id FROM {dataset}.phone_results").fetchall()
            assert found == [(batch_id,)]


def test_another_destination_is_refused(api: SimulatedEnrow, tmp_path: Path) -> None:
    """One name for two datasets: the second one does not get what the first one has left."""
    names = {"pipeline_name": "enrow", "pipelines_dir": str(tmp_path / "shared")}
    theirs = build_pipeline(dataset_name="client_a", **names)
    run([], pipeline=theirs, **options_of(api))
    theirs.extract(enrow_source([api.add_completed("a", 3)], **options_of(api)))
    ours = build_pipeline(dataset_name="client_b", **names)
    with pytest.raises(ConfigurationError, match="client_a"):
        run([api.add_completed("b", 2)], pipeline=ours, **options_of(api))


def test_a_package_that_cannot_load_is_given_up(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, logged: pytest.LogCaptureFixture
) -> None:
    """`add_dlt_id` over tables that have rows ends the run that has it, and none after it."""
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)

    def command(batch_id: str) -> int:
        return main(["run", "--base-url", api.url, batch_id])

    assert command(api.add_completed("first", 2)) == 0
    api.add_completed("second", 4)
    with monkeypatch.context() as with_ids:
        with_ids.setenv("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID", "true")
        assert command("second") == 1
    assert command(api.add_completed("third", 3)) == 0
    assert "gave up 1 load package(s)" in logged.text
    assert command("second") == 0
    assert results() == [("first", 2, 2), ("second", 4, 4), ("third", 3, 3)]


def test_a_package_beside_that_of_the_state(api: SimulatedEnrow, new_source: NewSource, tmp_path: Path) -> None:
    """Another source was the first of the pipeline: its schema has the state of all, in a package without our mark."""

    def pipeline() -> dlt.Pipeline:
        destination = dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb"))
        return dlt.pipeline("two_sources", destination=destination, dataset_name="enrow_data")

    pipeline().run([{"name": "other"}], table_name="others", schema=dlt.Schema("other"))
    pipeline().extract(new_source([api.add_completed("a", 2)]))
    report = run(["a"], pipeline=pipeline(), enrow_api_key=api.api_key, enrow_base_url=api.url)
    assert (report.recovered, report.error, api.fetches("a")) == (2, None, 1)


def test_a_dataset_of_its_own_is_refused(
    api: SimulatedEnrow, new_source: NewSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Half of the source would look in the dataset of the pipeline."""
    monkeypatch.setenv("USE_SINGLE_DATASET", "false")
    destination = dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb"))
    pipeline = dlt.pipeline("two_datasets", destination=destination, dataset_name="enrow_data")
    pipeline.run([{"name": "other"}], table_name="others", schema=dlt.Schema("other"))
    with pytest.raises(PipelineStepFailed, match="use_single_dataset is false"):
        pipeline.run(new_source([api.add_completed("a", 2)]))
