"""`phone_results` as a file of our own that dlt imports: what is in it, and what is left of it."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source.tables import results_file
from enrow_source.tables.results_file import ResultsWriter
from enrow_source.tables.schema import PHONE_RESULTS
from enrow_source.testing import SimulatedEnrow, bodies
from tests.conftest import NewSource
from tests.support.warehouse import Warehouse


def imported(warehouse: Warehouse, container: str = "first") -> list[Path]:
    """Return the files of `phone_results` in the last load, without empty ones."""
    pipeline = warehouse.pipeline(container)
    load_id = max(pipeline.list_completed_load_packages())
    folder = Path(pipeline.working_dir, "load", "loaded", load_id, "completed_jobs")
    return [file for file in folder.glob("phone_results.*.parquet") if pq.read_metadata(file).num_rows]


def left_over(warehouse: Warehouse, container: str = "first") -> list[Path]:
    return list(Path(warehouse.pipeline(container).working_dir).glob("**/enrow_phone_results_*"))


def test_a_load_has_one_file_and_leaves_none(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of many chunks and row groups are in one file, counted, and nothing stays in the folder."""
    monkeypatch.setattr("enrow_source.fetch.batches.CHUNK_ROWS", 60)
    monkeypatch.setattr(results_file, "ROW_GROUP_ROWS", 100)
    ids = [api.respond(f"batch-{n}", bodies.completed(f"batch-{n}", 40)) for n in range(9)]
    warehouse.run(new_source(ids))
    (file,) = imported(warehouse)
    groups = pq.read_metadata(file)
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [100, 100, 100, 60]
    assert warehouse.sql("SELECT count(*), count(DISTINCT (batch_id, index)) FROM phone_results") == [(360, 360)]
    trace = warehouse.pipeline().last_trace
    assert trace is not None
    assert trace.last_normalize_info is not None
    assert trace.last_normalize_info.row_counts["phone_results"] == 360
    assert left_over(warehouse) == []


def test_a_full_file_is_followed_by_another(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file begins and ends between two batches, so that replacing a batch sees all of it."""
    monkeypatch.setattr("enrow_source.fetch.batches.CHUNK_ROWS", 60)
    monkeypatch.setattr("enrow_source.extract.DUCKDB_FILE_ROWS", 100)
    ids = [api.respond(f"batch-{n}", bodies.completed(f"batch-{n}", 40)) for n in range(9)]
    warehouse.run(new_source(ids))
    files = [set(pq.read_table(file)["batch_id"].to_pylist()) for file in imported(warehouse)]
    assert len(files) > 1
    assert sum(map(len, files)) == len(set().union(*files)) == 9
    assert warehouse.sql("SELECT count(*) FROM phone_results") == [(360,)]


def test_a_column_that_comes_late_is_loaded(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An undocumented field of a later batch begins another file; the next load has its column from the start."""
    monkeypatch.setattr("enrow_source.fetch.batches.CHUNK_ROWS", 1)
    plain = [api.respond(f"plain-{n}", bodies.completed(f"plain-{n}", 5)) for n in range(3)]
    late = api.respond("late", bodies.completed("late", 5, extra={"result": {"carrier": "Example Mobile"}}))
    warehouse.run(new_source([*plain, late], connections=1))
    assert len(imported(warehouse)) == 2
    assert warehouse.sql("SELECT batch_id, count(carrier), count(*) FROM phone_results GROUP BY 1 ORDER BY 1") == [
        ("late", 5, 5),
        *((f"plain-{n}", 0, 5) for n in range(3)),
    ]
    warehouse.run(new_source([api.respond("next", bodies.completed("next", 5))]))
    (file,) = imported(warehouse)
    assert pq.read_schema(file).names == list(warehouse.pipeline().default_schema.get_table_columns("phone_results"))
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).statistics is None  # not written again by dlt
    assert warehouse.sql("SELECT count(*), count(carrier) FROM phone_results") == [(25, 5)]


def test_what_a_killed_run_left_goes(new_source: NewSource, warehouse: Warehouse) -> None:
    """A folder of a process that was killed is removed by the next run, also where that has nothing to fetch."""
    pipeline = warehouse.pipeline()
    left = Path(pipeline.working_dir, "enrow_phone_results_killed")
    left.mkdir(parents=True)
    (left / "1.parquet").write_bytes(b"half a file")
    warehouse.run(new_source([]))
    assert left_over(warehouse) == []


def test_a_run_that_fails_leaves_no_file(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends in the middle of the fetches takes its unfinished file with it."""
    monkeypatch.setattr("enrow_source.fetch.batches.CHUNK_ROWS", 1)
    monkeypatch.setattr(results_file, "ROW_GROUP_ROWS", 2)
    ids = [api.respond(f"batch-{n}", bodies.completed(f"batch-{n}", 5)) for n in range(3)]
    fetched = count(1)

    def give_up(_: object) -> None:
        if next(fetched) == 3:
            raise RuntimeError("the caller gives up")

    with pytest.raises(PipelineStepFailed, match="the caller gives up"):
        warehouse.run(new_source(ids, progress=give_up, connections=1))
    assert left_over(warehouse) == []
    warehouse.run(new_source(ids))
    assert warehouse.sql("SELECT count(*) FROM phone_results") == [(15,)]


def test_a_map_of_the_caller_sees_the_rows(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """Rows pass through dlt where the caller has added a step, which a file would go around."""
    source = new_source([api.respond("one", bodies.completed("one", 5))])

    def without_numbers(rows: pa.Table) -> pa.Table:
        if "number" not in rows.schema.names:
            return rows
        empty = pa.nulls(rows.num_rows, pa.string())
        return rows.set_column(rows.schema.names.index("number"), "number", empty) if rows.num_rows else rows

    source.phone_results.add_map(without_numbers)
    warehouse.run(source)
    assert warehouse.sql("SELECT count(*), count(number) FROM phone_results") == [(5, 0)]


def test_a_contract_keeps_columns_out(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """Rows pass through dlt where a contract has to read them."""
    first = api.respond("first", bodies.completed("first", 5))
    later = api.respond("later", bodies.completed("later", 5, extra={"result": {"carrier": "Example Mobile"}}))
    warehouse.run(new_source([first]))
    source = new_source([later])
    source.phone_results.apply_hints(schema_contract={"columns": "discard_value"})
    warehouse.run(source)
    assert "carrier" not in warehouse.columns("phone_results")
    assert warehouse.sql("SELECT count(*) FROM phone_results") == [(10,)]


def test_rows_come_as_tables_outside_a_pipeline(api: SimulatedEnrow, new_source: NewSource) -> None:
    """Who iterates the source gets the rows, and no path of a file."""
    source = new_source([api.respond("one", bodies.completed("one", 5))])
    tables: Iterator[pa.Table] = iter(source.phone_results)
    assert sum(table.num_rows for table in tables if "number" in table.schema.names) == 5


def test_a_resumed_package_has_the_file(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """A package that waits is complete without our folder, which goes with the extraction."""
    pipeline: dlt.Pipeline = warehouse.pipeline()
    pipeline.extract(new_source([api.respond("one", bodies.completed("one", 5))]))
    assert left_over(warehouse) == []
    pipeline.normalize()
    pipeline.load()
    assert warehouse.sql("SELECT count(*) FROM phone_results") == [(5,)]


def test_rows_are_written_whole(tmp_path: Path) -> None:
    """Each table that is written is in one of the files, each column under its name."""
    writer = ResultsWriter(tmp_path, 100, ["carrier"])
    rows = PHONE_RESULTS.arrow.empty_table()
    assert writer.finish() == []
    assert writer.write([rows]) == []
    assert writer.finish() == []
