"""Whole runs: the simulated API over real HTTP, the real dlt pipeline, a real DuckDB file."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import dlt
import pytest
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import enrow_source
from enrow_source.tables.schema import TABLES
from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.conftest import NewSource
from tests.support.contents import completed, contents, fetches
from tests.support.warehouse import Row, Warehouse

RESOURCES = ("batches", "batch_stats", "phone_results", "batch_errors")
ALL_TABLES = {"batches", "batch_stats", "phone_results", "phone_results_ledger", "batch_errors"}
UNREADABLE_NOW = """
SELECT e.batch_id, min(e.fetched_at) AS since, max(e.fetched_at) AS last_tried, count(*) AS tries
FROM batch_errors AS e
LEFT JOIN batches AS b ON b.batch_id = e.batch_id
WHERE b.batch_id IS NULL OR e.fetched_at > b.fetched_at
GROUP BY e.batch_id
ORDER BY since, e.batch_id
"""


def test_the_documented_batch_becomes_these_rows(api: SimulatedEnrow, warehouse: Warehouse) -> None:
    source = enrow_source(batch_ids=[api.add_documented()], enrow_api_key=api.api_key, enrow_base_url=api.url)
    warehouse.run(source)
    batch_id = bodies.DOCUMENTED_ID
    assert warehouse.rows("batches") == [{"batch_id": batch_id, "status": "completed", "custom": None}]
    assert warehouse.rows("batch_stats") == [
        {
            "batch_id": batch_id,
            "status": "completed",
            "requested": 2,
            "finished": None,
            "found": 2,
            "credits_cost": Decimal(80),
            "credits_to_refund": Decimal(0),
            "results_received": 2,
            "found_received": 2,
        }
    ]
    result: Row = {
        "batch_id": batch_id,
        "qualification": "found",
        "country": "US",
        "custom": None,
        "params__firstname": None,
        "params__lastname": None,
        "params__company_domain": None,
        "params__company_name": None,
    }
    profile = "https://www.linkedin.com/in"
    assert warehouse.rows("phone_results") == [
        result | {"index": 0, "number": "+15705551234", "params__linkedin_url": f"{profile}/michael-scott"},
        result | {"index": 1, "number": "+15705555678", "params__linkedin_url": f"{profile}/dwight-schrute"},
    ]
    assert warehouse.rows("phone_results_ledger") == [
        {"batch_id": batch_id, "status": "completed", "results_loaded": 2}
    ]
    assert warehouse.rows("batch_errors") == []


@pytest.mark.parametrize("name", RESOURCES)
def test_each_resource_alone_makes_its_table(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, name: str
) -> None:
    """Each resource alone makes its table, with one GET for a batch; failed fetches are kept with any of them."""
    ids = [api.add_completed("done", 3), api.add_completed("empty", 0), "unknown"]
    warehouse.run(new_source(ids).with_resources(name))
    assert fetches(api, ids) == [1, 1, 1]
    ledger = {"phone_results_ledger"} if name == "phone_results" else set()
    assert warehouse.tables() == {name, "batch_errors", *ledger}
    rows = {"phone_results": 3, "batch_errors": 1}.get(name, 2)
    assert len(warehouse.rows(name)) == rows


def test_ids_come_from_a_resource_too(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    api.add_completed("a", 1)
    api.add_completed("b", 2)
    submitted = dlt.resource([{"id": " a "}, {"batch_id": "b", "credits_used": 40}, {"id": "b"}], name="submitted")
    source = new_source(submitted)
    warehouse.run(source)
    warehouse.run(source)
    assert contents(warehouse) == completed(a=1, b=2)
    assert fetches(api, "ab") == [1, 1]
    assert warehouse.tables() == ALL_TABLES


def test_a_second_source_fetches_nothing_twice(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    """The same source, and another one like it, fetch nothing twice."""
    api.add_completed("a", 2)
    api.add_ongoing("b", 1, 3)
    first, second = new_source(["a", "b"]), new_source(["a", "b"])
    for source in (first, second, first):
        warehouse.run(source)
    assert (contents(warehouse), fetches(api, "ab")) == (completed(a=2, b=3), [1, 2])


def test_two_sources_in_one_run_are_refused(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """Two sources in one run are refused, and the next run works."""
    api.add_completed("a", 2)
    with pytest.raises(PipelineStepFailed, match="give all ids to one enrow_source"):
        warehouse.pipeline().run([new_source(["a"]), new_source(["a"])])
    warehouse.run(new_source(["a"]))
    assert contents(warehouse) == completed(a=2)


def test_outside_a_pipeline_it_yields_the_same_rows(api: SimulatedEnrow, new_source: NewSource) -> None:
    Container()[PipelineContext].deactivate()
    tables = list(new_source([api.add_completed("a", 3), "unknown"]))
    assert sum(table.num_rows for table in tables if "qualification" in table.column_names) == 3
    assert sum(table.num_rows for table in tables if "kind" in table.column_names) == 1
    assert fetches(api, ["a", "unknown"]) == [1, 1]


SQL_TYPES = {
    "text": "VARCHAR",
    "bigint": "BIGINT",
    "decimal": "DECIMAL(38,9)",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
}


DECLARED = sorted(
    (table.name, column.name, SQL_TYPES[column.data_type], "YES" if column.nullable else "NO")
    for table in TABLES
    for column in table.columns
)


COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
    WHERE table_schema = 'enrow_data' AND NOT starts_with(table_name, '_dlt') ORDER BY ALL
"""


PROMISED = {
    "batches": "batch_id status custom first_seen_at",
    "batch_stats": "batch_id status requested finished found credits_cost credits_to_refund results_received"
    " found_received",
    "phone_results": "batch_id index qualification number country custom params__linkedin_url params__firstname"
    " params__lastname params__company_domain params__company_name",
    "batch_errors": "batch_id http_status kind message",
}


def test_first_run_without_ids_creates_the_tables(new_source: NewSource, warehouse: Warehouse) -> None:
    """A first run without ids creates the declared tables, each column with a description."""
    pipeline = warehouse.pipeline()
    pipeline.run(new_source([]))
    assert warehouse.sql(COLUMNS) == DECLARED
    assert [warehouse.rows(table) for table in ALL_TABLES] == [[]] * 5
    for table, columns in PROMISED.items():
        assert warehouse.columns(table) == [*columns.split(), "fetched_at", "_dlt_load_id"]
    for table in ALL_TABLES:
        declared = pipeline.default_schema.tables[table]
        assert declared["description"]
        assert [name for name, column in declared["columns"].items() if not column.get("description")] == []


def test_first_bare_response_creates_all_columns(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    """A first response that lacks every optional field creates the same tables."""
    api.respond("a", {"general": {"status": "completed"}})
    warehouse.run(new_source(["a"]))
    assert warehouse.sql(COLUMNS) == DECLARED
    assert warehouse.rows("batch_stats") == [
        {
            "batch_id": "a",
            "status": "completed",
            "requested": None,
            "finished": None,
            "found": None,
            "credits_cost": None,
            "credits_to_refund": None,
            "results_received": 0,
            "found_received": 0,
        }
    ]


def test_rows_have_time_and_load(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """Every row has the time of its response in UTC and a load that was completed."""
    before = datetime.now(UTC)
    warehouse.run(new_source([api.add_completed("a", 2), "unknown"]))
    middle = datetime.now(UTC)
    warehouse.run(new_source([api.add_completed("b", 2)]))
    after = datetime.now(UTC)
    expected = {"a": (before, middle), "unknown": (before, middle), "b": (middle, after)}
    for table in ALL_TABLES:
        rows = warehouse.sql(
            f"SELECT t.batch_id, t.fetched_at, l.status FROM {table} AS t"
            " LEFT JOIN _dlt_loads AS l ON l.load_id = t._dlt_load_id"
        )
        assert rows
        for batch_id, fetched_at, status in rows:
            earliest, latest = expected[batch_id]
            assert earliest <= fetched_at <= latest
            assert status == 0


def test_undocumented_fields_become_columns(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """Fields that nobody documented become columns, also when they come later."""
    api.add_completed("a", 1)
    warehouse.run(new_source(["a"]))
    extra: bodies.Extra = {
        "top": {"version": 2},
        "general": {"owner": "Ann"},
        "stats": {"pending": 1.50},
        "result": {"lineType": {"mobile": True}},
        "params": {"crm_id": "17"},
    }
    api.add_completed("b", 1, extra=extra)
    warehouse.run(new_source(["b"]))
    assert warehouse.sql("SELECT batch_id, version, owner FROM batches ORDER BY 1") == [
        ("a", None, None),
        ("b", "2", "Ann"),
    ]
    assert warehouse.sql("SELECT batch_id, pending FROM batch_stats ORDER BY 1") == [("a", None), ("b", "1.5")]
    assert warehouse.sql("SELECT batch_id, line_type, params__crm_id FROM phone_results ORDER BY 1") == [
        ("a", None, None),
        ("b", '{"mobile":true}', "17"),
    ]


def test_impossible_value_is_an_error_row(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """A value that cannot be is a row that names the field, and the other batches load."""
    wrong = bodies.completed("wrong", 3)
    wrong["results"][1]["number"] = 12025550147
    api.respond("wrong", wrong)
    api.respond("html", b"<html>")
    api.respond("mixed-up", bodies.completed("a", 1))
    warehouse.run(new_source(["wrong", "html", "mixed-up", api.add_completed("a", 2)]))
    assert contents(warehouse) == completed(a=2)
    errors = {row["batch_id"]: row for row in warehouse.rows("batch_errors")}
    assert errors["wrong"] == {
        "batch_id": "wrong",
        "http_status": 200,
        "kind": "invalid_response",
        "message": "results[1].number is a number, expected a string or null",
    }
    assert errors["html"]["message"].startswith("the body is not JSON")
    assert errors["mixed-up"]["message"] == "general.id is not the id that was asked for"
    assert len(errors) == 3


def test_an_id_that_the_api_does_not_know_is_an_entry(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    api.respond("old-page", Response.not_found())
    warehouse.run(new_source(["unknown", "old-page", api.add_completed("a", 1)]))
    assert contents(warehouse) == completed(a=1)
    error = {"kind": "expired_or_unknown"}
    assert warehouse.rows("batch_errors") == [
        error | {"batch_id": "old-page", "http_status": 404, "message": "Bulk search not found"},
        error | {"batch_id": "unknown", "http_status": 400, "message": "Could not retrieve bulk search results"},
    ]


def test_which_ids_cannot_be_read_now_is_one_query(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    fault, fine = Response.unreadable(), bodies.completed("recovered", 1)
    api.respond("recovered", fault, fine)
    api.respond("lost-again", bodies.ongoing("lost-again", 1, 0), fault)
    ids = ["unknown", "recovered", "lost-again"]
    for _ in range(3):
        warehouse.run(new_source(ids))
    tried = warehouse.sql(
        "SELECT batch_id, list(fetched_at ORDER BY fetched_at) FROM batch_errors GROUP BY 1 ORDER BY 1"
    )
    times = dict(tried)
    assert {batch_id: len(times[batch_id]) for batch_id in times} == {"unknown": 3, "recovered": 1, "lost-again": 2}
    assert warehouse.sql(UNREADABLE_NOW) == [
        ("unknown", times["unknown"][0], times["unknown"][2], 3),
        ("lost-again", times["lost-again"][0], times["lost-again"][1], 2),
    ]


def test_files_become_delta_tables_alone(new_source: NewSource, tmp_path: Path) -> None:
    """The conformance suite opens all of them as Delta tables."""
    lake = dlt.destinations.filesystem(str(tmp_path / "lake"))
    pipeline = dlt.pipeline("lake", destination=lake, dataset_name="enrow_data", pipelines_dir=str(tmp_path / "lake"))
    with pytest.raises(PipelineStepFailed, match=r"table_format of batches is 'iceberg': leave it out, for delta"):
        pipeline.run(new_source([]), table_format="iceberg")
