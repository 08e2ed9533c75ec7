"""`phone_results` is appended where the ledger has no results of any batch, and merged elsewhere."""

from pathlib import Path

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import Subject, SubjectKind, erase, run
from enrow_source.testing import SimulatedEnrow, bodies
from tests.conftest import NewSource
from tests.support.contents import completed, contents
from tests.support.warehouse import Warehouse

IS_STAGED = "SELECT count(*) FROM duckdb_tables() WHERE schema_name LIKE '%staging' AND table_name = 'phone_results'"


def test_new_batches_are_not_staged(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """Rows of new batches are written once; those of a batch that has some are merged."""
    warehouse.run(new_source([api.add_completed("a", 2)]))
    warehouse.run(new_source(["a", api.add_completed("b", 3)]))
    assert (contents(warehouse), warehouse.sql(IS_STAGED)) == (completed(a=2, b=3), [(0,)])
    warehouse.sql("UPDATE batches SET status = 'ongoing' WHERE batch_id = 'a'")
    warehouse.run(new_source([api.add_completed("c", 1)]))
    assert (contents(warehouse), warehouse.sql(IS_STAGED)) == (completed(a=2, b=3, c=1), [(1,)])


def test_a_batch_that_another_run_loaded_is_replaced(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    """Another run loads the batch between the read of the ledger and the load; the last load wins."""
    api.respond("a", bodies.completed("a", 5), bodies.completed("a", 3))
    slow: dlt.Pipeline = warehouse.pipeline("slow")
    slow.extract(new_source(["a", api.add_completed("b", 2)]))
    slow.normalize()
    warehouse.run(new_source(["a"]), "quick")
    slow.load()
    assert warehouse.sql("SELECT batch_id, count(*) FROM phone_results GROUP BY 1 ORDER BY 1") == [("a", 5), ("b", 2)]
    assert warehouse.sql("SELECT batch_id, results_loaded FROM phone_results_ledger ORDER BY 1") == [("a", 5), ("b", 2)]


def test_an_older_package_is_given_up(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """Another run has loaded since: what waited would put older rows in the place of newer ones."""
    left: dlt.Pipeline = warehouse.pipeline("left")
    warehouse.run(new_source([]), "left")
    api.respond("a", bodies.ongoing("a", 9, 3), bodies.completed("a", 5))
    left.extract(new_source(["a", api.add_completed("b", 2)]))
    warehouse.run(new_source(["a"]), "quick")
    report = run(["b"], pipeline=left, enrow_api_key=api.api_key, enrow_base_url=api.url)
    assert (report.recovered, contents(warehouse)) == (0, completed(a=5, b=2))
    assert (api.fetches("a"), api.fetches("b")) == (2, 2)


def test_an_erased_batch_stays_out_of_packages(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    """An erasure in another folder does not reach what a killed run has left in this one."""
    left: dlt.Pipeline = warehouse.pipeline("left")
    warehouse.run(new_source([]), "left")
    left.extract(new_source([api.add_completed("a", 3), api.add_completed("b", 2)]))
    erase(warehouse.pipeline("eraser"), Subject(SubjectKind.BATCH, "a"), execute=True)
    report = run(["b"], pipeline=left, enrow_api_key=api.api_key, enrow_base_url=api.url)
    assert (report.recovered, contents(warehouse)) == (0, completed(b=2))


def test_a_package_meets_a_broken_destination(api: SimulatedEnrow, new_source: NewSource, tmp_path: Path) -> None:
    """What cannot be asked ends the run in its step, as without a package: the command tells it in one line."""
    file = tmp_path / "broken.duckdb"
    pipeline = dlt.pipeline("broken", destination=dlt.destinations.duckdb(str(file)), dataset_name="enrow_data")
    pipeline.extract(new_source([api.add_completed("a", 1)]))
    file.write_bytes(b"no database " * 1_000)
    with pytest.raises(PipelineStepFailed):
        run(["a"], pipeline=pipeline, enrow_api_key=api.api_key, enrow_base_url=api.url)


def test_a_source_that_runs_twice_merges(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """A source that has appended merges, in its next run, a batch that has results."""
    source = new_source([api.add_completed("a", 5)])
    warehouse.run(source)
    warehouse.sql("UPDATE batches SET status = 'ongoing'")
    warehouse.run(source.with_resources("batches", "batch_stats", "phone_results"))
    assert contents(warehouse) == completed(a=5)


def test_a_first_load_has_its_tables_commented(api: SimulatedEnrow, warehouse: Warehouse) -> None:
    """The load is written down as begun before dlt makes the other tables, and they are made as ever."""
    pipeline: dlt.Pipeline = warehouse.pipeline()
    run([api.add_completed("a", 1)], pipeline=pipeline, enrow_api_key=api.api_key, enrow_base_url=api.url)
    sql = "SELECT comment IS NOT NULL FROM duckdb_tables() WHERE table_name = 'phone_results'"
    assert warehouse.sql(sql) == [(True,)]
    assert warehouse.sql("SELECT status FROM _dlt_loads WHERE schema_name = 'enrow'") == [(0,)]
