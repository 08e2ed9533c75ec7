"""Whatever becomes of a run, the next one makes the tables right."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from enrow_source.testing import SimulatedEnrow, bodies
from tests.conftest import NewSource
from tests.support.contents import completed, contents, fetches
from tests.support.warehouse import Warehouse


@pytest.mark.parametrize(
    "container",
    [
        pytest.param("second", id="fresh container"),
        pytest.param("first", id="deleted working folder", marks=pytest.mark.slow),
    ],
)
def test_a_fresh_folder_knows_what_is_loaded(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, container: str
) -> None:
    """A run without its working folder still knows what is loaded."""
    ids = [api.add_completed("a", 2), api.add_completed("empty", 0), api.add_ongoing("b", 1, 3)]
    warehouse.run(new_source(ids))
    if container == "first":
        shutil.rmtree(warehouse.folder / "first")
    warehouse.run(new_source(ids), container)
    assert (contents(warehouse), fetches(api, ids)) == (completed(a=2, b=3, empty=0), [1, 1, 2])


KILLED = """
import os, signal, sys, threading
import dlt
from dlt.destinations.job_client_impl import SqlLoadJob
from enrow_source import enrow_source

table, url, file, folder, *ids = sys.argv[1:]
merge = SqlLoadJob.run

def merge_one_table_and_die(job):
    if job.job_file_info().table_name != table:
        threading.Event().wait()
    merge(job)
    os.kill(os.getpid(), signal.SIGKILL)

SqlLoadJob.run = merge_one_table_and_die
destination = dlt.destinations.duckdb(file)
pipeline = dlt.pipeline("enrow", destination=destination, dataset_name="enrow_data", pipelines_dir=folder)
pipeline.run(enrow_source(ids, enrow_base_url=url))
"""


def run_killed_after_the_merge_of(table: str, api: SimulatedEnrow, warehouse: Warehouse, ids: Sequence[str]) -> None:
    warehouse.close()
    arguments = [table, api.url, str(warehouse.file), str(warehouse.folder / "killed"), *ids]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments],
        env={**os.environ, "ENROW_API_KEY": api.api_key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("table", ["batches", pytest.param("phone_results_ledger", marks=pytest.mark.slow)])
def test_kill_in_the_load_is_repaired(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, table: str
) -> None:
    """A run killed in the middle of its load is repaired by the next run."""
    api.add_ongoing("was-ongoing", 1, 3)
    warehouse.run(new_source(["was-ongoing"]))
    api.add_completed("new", 2)
    run_killed_after_the_merge_of(table, api, warehouse, ["new"])
    # The table is as the killed run wants it, and but for the results no other is: they are of a load that has begun.
    done = [("new", "completed"), ("was-ongoing", "completed")]
    assert warehouse.sql(f"SELECT batch_id, status FROM {table} ORDER BY 1") == done
    of_load = "SELECT DISTINCT status FROM phone_results r JOIN _dlt_loads l ON l.load_id = r._dlt_load_id"
    assert warehouse.sql(of_load) == [(1,)]
    assert warehouse.sql("SELECT batch_id, status FROM batch_stats") == [("was-ongoing", "ongoing")]
    # Neither id is given to it.
    warehouse.run(new_source(), "fresh")
    assert contents(warehouse) == completed(**{"new": 2, "was-ongoing": 3})
    assert fetches(api, ["new", "was-ongoing"]) == [2, 3]
    warehouse.run(new_source(["new", "was-ongoing"]), "fresh")
    assert fetches(api, ["new", "was-ongoing"]) == [2, 3]


@pytest.mark.parametrize("given", [pytest.param(True, marks=pytest.mark.slow), False])
def test_incomplete_load_is_made_again(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, given: bool
) -> None:
    """A load that is not in `_dlt_loads` is made again."""
    api.add_completed("kept", 1)
    api.add_completed("lost", 3)
    warehouse.run(new_source(["kept"]))
    warehouse.run(new_source(["lost"]))
    warehouse.sql("DELETE FROM phone_results WHERE batch_id = 'lost'")
    warehouse.sql("DELETE FROM batch_stats WHERE batch_id = 'lost'")
    warehouse.sql("DELETE FROM _dlt_loads WHERE load_id = (SELECT max(load_id) FROM _dlt_loads)")
    warehouse.run(new_source(["kept", "lost"] if given else []), "second")
    assert (contents(warehouse), fetches(api, ["kept", "lost"])) == (completed(kept=1, lost=3), [1, 2])


def test_pending_package_is_loaded_and_counts(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """A package that waits in the working folder is loaded and then counts."""
    api.add_completed("a", 2)
    api.add_completed("b", 1)
    warehouse.run(new_source([]))
    pipeline = warehouse.pipeline()
    pipeline.extract(new_source(["a"]))
    pipeline.run(new_source(["a", "b"]))  # dlt loads what waits, and extracts nothing
    assert contents(warehouse) == completed(a=2)
    pipeline.run(new_source(["a", "b"]))
    assert (contents(warehouse), fetches(api, "ab")) == (completed(a=2, b=1), [1, 1])


def test_a_package_that_is_loaded_late_changes_nothing(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    api.add_completed("a", 2)
    waiting = warehouse.pipeline("first")
    waiting.extract(new_source(["a"]))
    warehouse.run(new_source(["a"]), "second")
    warehouse.pipeline("first").run()
    assert contents(warehouse) == completed(a=2)
    warehouse.run(new_source(["a"]), "second")
    assert (contents(warehouse), api.fetches("a")) == (completed(a=2), 2)


def test_a_given_up_package_deletes_nothing(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """Rows of a batch that comes back without any go when the load begins, which may never be."""
    bodies_of = {"empties": (9, 0), "stays": (4, 4)}
    for batch_id, (first, then) in bodies_of.items():
        api.respond(batch_id, bodies.completed(batch_id, first), bodies.completed(batch_id, then))
    warehouse.run(new_source(list(bodies_of)).with_resources("phone_results"))
    pipeline = warehouse.pipeline()
    pipeline.extract(new_source(list(bodies_of)))
    pipeline.abort_packages()
    rows = "SELECT batch_id, count(*) FROM phone_results GROUP BY ALL ORDER BY 1"
    assert warehouse.sql(rows) == [("empties", 9), ("stays", 4)]
    warehouse.run(new_source(list(bodies_of)), container="fresh")
    assert (api.fetches("empties"), api.fetches("stays")) == (3, 3)
    assert warehouse.sql(rows) == [("stays", 4)]
    assert warehouse.sql("SELECT results_loaded FROM phone_results_ledger ORDER BY batch_id") == [(0,), (4,)]
