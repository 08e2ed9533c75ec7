"""Whole runs: the simulated API over real HTTP, the real dlt pipeline, a real DuckDB file."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from traceback import TracebackException
from typing import Any

import dlt
import pytest
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import ConfigurationError, UnknownOptionError, enrow_source
from enrow_source.tables.schema import TABLES
from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.conftest import Configure, NewSource
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

Contents = dict[str, list[tuple[Any, ...]]]


def contents(warehouse: Warehouse) -> Contents:
    """Return what the tables hold, each row with the columns that tell whether it is there, and there once."""
    return {
        "batches": warehouse.sql("SELECT batch_id, status FROM batches ORDER BY ALL"),
        "batch_stats": warehouse.sql("SELECT batch_id, status, results_received FROM batch_stats ORDER BY ALL"),
        "phone_results": warehouse.sql('SELECT batch_id, "index", number FROM phone_results ORDER BY ALL'),
        "phone_results_ledger": warehouse.sql(
            "SELECT batch_id, status, results_loaded FROM phone_results_ledger ORDER BY ALL"
        ),
    }


def completed(**results: int) -> Contents:
    """Return the contents when these batches are complete, with so many results each, and no others."""
    return {
        "batches": [(batch_id, "completed") for batch_id in sorted(results)],
        "batch_stats": [(batch_id, "completed", results[batch_id]) for batch_id in sorted(results)],
        "phone_results": [
            (batch_id, result["index"], result.get("number"))
            for batch_id in sorted(results)
            for result in bodies.completed(batch_id, results[batch_id])["results"]
        ],
        "phone_results_ledger": [(batch_id, "completed", results[batch_id]) for batch_id in sorted(results)],
    }


def fetches(api: SimulatedEnrow, batch_ids: Sequence[str]) -> list[int]:
    return [api.looks(batch_id) for batch_id in batch_ids]


# The interface -------------------------------------------------------------------------------------------------------


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
def test_each_resource_alone_makes_its_table_with_one_get_for_a_batch(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, name: str
) -> None:
    ids = [api.add_completed("done", 3), api.add_completed("empty", 0), "unknown"]
    warehouse.run(new_source(ids).with_resources(name))
    assert fetches(api, ids) == [1, 1, 1]
    assert warehouse.tables() == ({name, "phone_results_ledger"} if name == "phone_results" else {name})
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


def test_the_same_source_and_another_one_like_it_fetch_nothing_twice(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    api.add_completed("a", 2)
    api.add_ongoing("b", 1, 3)
    first, second = new_source(["a", "b"]), new_source(["a", "b"])
    for source in (first, second, first):
        warehouse.run(source)
    assert (contents(warehouse), fetches(api, "ab")) == (completed(a=2, b=3), [1, 2])


def test_two_sources_in_one_run_are_refused_and_the_next_run_is_fine(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
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


# Keys and options ----------------------------------------------------------------------------------------------------


def test_without_a_key_it_tells_where_to_put_one(api: SimulatedEnrow) -> None:
    with pytest.raises(ConfigurationError) as caught:
        enrow_source(["a"], enrow_base_url=api.url)
    assert "enrow_api_key under [sources.enrow] in .dlt/secrets.toml" in str(caught.value)
    assert "ENROW_API_KEY in the environment" in str(caught.value)
    assert api.requests == []


def test_a_key_of_another_vendor_is_not_used(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "SOURCES__API_KEY"):
        monkeypatch.setenv(name, api.api_key)
    with pytest.raises(ConfigurationError, match="no Enrow API key"):
        enrow_source(["a"], enrow_base_url=api.url)
    assert api.requests == []


@pytest.mark.parametrize(
    "name", ["ENROW_API_KEY", "SOURCES__ENROW_API_KEY", "SOURCES__ENROW__ENROW_API_KEY"], ids=str.lower
)
def test_the_key_comes_from_the_environment(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, api.api_key)
    list(enrow_source([api.add_completed("a", 1)], enrow_base_url=api.url))
    assert [request.status for request in api.requests] == [200]


def test_key_and_url_come_from_the_files(api: SimulatedEnrow, configure: Configure) -> None:
    configure(
        config=f'[sources.enrow]\nenrow_base_url = "{api.url}"',
        secrets=f'[sources.enrow]\nenrow_api_key = "{api.api_key}"',
    )
    list(enrow_source([api.add_completed("a", 1)]))
    assert [request.status for request in api.requests] == [200]


@pytest.mark.parametrize(
    "options,message",
    [
        ({"max_batch": 5}, "no option 'max_batch': did you mean 'max_batches'?"),
        ({"api_key": "x"}, "no option 'api_key': did you mean 'enrow_api_key'?"),
        ({"base_url": "x"}, "no option 'base_url': did you mean 'enrow_base_url'?"),
        ({"zzz": 1}, "no option 'zzz': the options are batch_ids, enrow_api_key, enrow_base_url, max_batches"),
        ({"max_batches": 0}, "max_batches is 0: set it to"),
        ({"max_batches": -1}, "max_batches is -1: set it to"),
        ({"connections": 0}, "connections is 0: set it to"),
        ({"connections": 257}, "connections is 257: set it to 1 to 256"),
    ],
)
def test_a_wrong_option_is_an_error_that_tells_the_right_one(
    api: SimulatedEnrow, new_source: NewSource, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_source(["a"], **options)
    assert message in str(caught.value)
    assert api.requests == []


@pytest.mark.parametrize(
    "config,secrets,message",
    [
        ("max_batch = 5", "", "no option 'max_batch' under [sources.enrow]: did you mean 'max_batches'?"),
        ("", 'api_key = "hunter2"', "no option 'api_key' under [sources.enrow]: did you mean 'enrow_api_key'?"),
        ("max_batches = 0", "", "max_batches is 0"),
        ('enrow_base_url = "http://api.enrow.io"', 'enrow_api_key = "hunter2"', "use https"),
        ("", 'enrow_api_key = ""', "ENROW_API_KEY"),
        ("", 'enrow_api_key = "hunter2\\nx"', "ENROW_API_KEY"),
    ],
)
def test_a_wrong_line_in_the_files_is_an_error_that_tells_the_right_one(
    configure: Configure, config: str, secrets: str, message: str
) -> None:
    configure(config=f"[sources.enrow]\n{config}", secrets=f"[sources.enrow]\n{secrets}")
    with pytest.raises(ConfigurationError) as caught:
        enrow_source(["a"])
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["MAX_BATCH", "API_KEY"])
def test_a_wrong_option_in_the_environment_is_an_error(
    api: SimulatedEnrow, new_source: NewSource, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"SOURCES__ENROW__{name}", "1")
    with pytest.raises(UnknownOptionError, match=f"no option '{name.lower()}'.*: did you mean"):
        new_source(["a"])
    assert api.requests == []


def test_an_unknown_option_is_a_type_error_as_for_any_function(new_source: NewSource) -> None:
    with pytest.raises(UnknownOptionError) as caught:
        new_source(["a"], max_batch=5)
    assert isinstance(caught.value, TypeError)


def test_http_elsewhere_than_loopback_is_an_error_before_the_first_request() -> None:
    with pytest.raises(ConfigurationError, match="unencrypted: use https"):
        enrow_source(["a"], enrow_api_key="a-made-up-key", enrow_base_url="http://api.enrow.io")


def test_options_come_from_the_config_file_and_an_argument_wins(
    api: SimulatedEnrow, new_source: NewSource, configure: Configure
) -> None:
    configure(config="[sources.enrow]\nmax_batches = 1")
    ids = [api.add_completed(batch_id, 1) for batch_id in "abc"]
    list(new_source(ids))
    assert fetches(api, "abc") == [1, 0, 0]
    list(new_source(ids, max_batches=2))
    assert fetches(api, "abc") == [2, 1, 0]


def test_a_bad_key_ends_the_run_and_what_is_loaded_stays(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    api.add_completed("a", 2)
    api.add_completed("b", 1)
    warehouse.run(new_source(["a"]))
    before = contents(warehouse)
    with pytest.raises(PipelineStepFailed) as caught:
        warehouse.run(enrow_source(["a", "b"], enrow_api_key="revoked-key", enrow_base_url=api.url))
    message = "".join(TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "InvalidApiKeyError: the API refused the key (This apikey is not valid)" in message
    assert [line for line in message.splitlines() if "revoked-key" in line and "enrow_source(" not in line] == []
    assert contents(warehouse) == before
    warehouse.run(new_source(["a", "b"]))
    assert contents(warehouse) == completed(a=2, b=1)


def test_the_key_is_in_no_file_that_a_run_leaves(
    api: SimulatedEnrow, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = api.api_key = "k3y-that-nothing-else-holds"
    monkeypatch.setenv("ENROW_API_KEY", key)
    api.respond("echo", Response.message(400, f"{key} may not read this"))
    warehouse.run(enrow_source([api.add_completed("a", 1), "echo"], enrow_base_url=api.url))
    api.api_key = "another"
    with pytest.raises(PipelineStepFailed) as caught:
        warehouse.run(enrow_source(["b"], enrow_base_url=api.url))
    assert key not in str(caught.value)
    warehouse.close()
    files = [file for file in warehouse.folder.rglob("*") if file.is_file()]
    assert [file for file in files if key.encode() in file.read_bytes()] == []
    assert len(files) > 5
    assert len(api.requests) == 3


# The tables ----------------------------------------------------------------------------------------------------------

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


def test_a_first_run_without_ids_creates_the_tables_as_declared_each_column_with_a_description(
    new_source: NewSource, warehouse: Warehouse
) -> None:
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


def test_a_first_answer_that_lacks_everything_creates_the_same_tables(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
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


def test_every_row_has_the_time_of_its_answer_in_utc_and_a_load_that_was_completed(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
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


def test_fields_that_nobody_documented_are_columns_also_when_they_come_later(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
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


def test_a_value_that_cannot_be_is_an_entry_that_names_the_field_and_the_others_load(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
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
    error = {"kind": "not_readable"}
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


# Incremental: what is fetched again ----------------------------------------------------------------------------------


def test_the_second_run_fetches_nothing(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    source = [api.add_completed("a", 2), api.add_completed("empty", 0), api.add_failed("failed")]
    warehouse.run(new_source(source))
    requests = len(api.requests)
    warehouse.run(new_source(source))
    assert (requests, len(api.requests)) == (3, 3)
    assert warehouse.sql("SELECT batch_id, status FROM batches ORDER BY 1") == [
        ("a", "completed"),
        ("empty", "completed"),
        ("failed", "failed"),
    ]


@pytest.mark.parametrize("status,given", [(200, True), (202, False)])
def test_ongoing_is_recorded_and_completes_whether_or_not_its_id_is_given(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, status: Any, given: bool
) -> None:
    api.add_ongoing("a", 1, 3, status=status)
    warehouse.run(new_source(["a"]))
    assert warehouse.sql("SELECT batch_id, status, requested, finished FROM batch_stats") == [("a", "ongoing", 3, 0)]
    assert warehouse.rows("phone_results") == []
    warehouse.run(new_source(["a"] if given else []))
    assert (contents(warehouse), api.looks("a")) == (completed(a=3), 2)


def test_a_status_that_nobody_documented_stays_pending(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    paused = bodies.completed("a", 3)
    paused["general"]["status"] = "paused"
    api.respond("a", paused, bodies.completed("a", 3))
    warehouse.run(new_source(["a"]))
    assert warehouse.sql("SELECT status FROM batches") == [("paused",)]
    assert warehouse.rows("phone_results") == []
    warehouse.run(new_source())
    assert (contents(warehouse), api.looks("a")) == (completed(a=3), 2)


def test_failed_is_final_unless_it_is_to_be_tried_again(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    api.respond("a", bodies.failed("a"), bodies.completed("a", 2))
    for _ in range(2):
        warehouse.run(new_source(["a"]))
    assert (api.looks("a"), warehouse.sql("SELECT status FROM batches")) == (1, [("failed",)])
    for _ in range(2):
        warehouse.run(new_source(retry_failed=True))
    assert (contents(warehouse), api.looks("a")) == (completed(a=2), 2)


def test_first_one_table_and_later_all_of_them(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    api.add_completed("a", 2)
    api.add_ongoing("b", 1, 3)
    warehouse.run(new_source(["a", "b"]).with_resources("batches"))
    assert (warehouse.tables(), fetches(api, "ab")) == ({"batches"}, [1, 1])
    for _ in range(2):
        warehouse.run(new_source(["a", "b"]))
    assert (contents(warehouse), fetches(api, "ab")) == (completed(a=2, b=3), [2, 2])


def test_a_batch_that_was_ongoing_in_a_table_that_was_left_out_is_looked_at_again(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    api.add_ongoing("a", 1, 3)
    warehouse.run(new_source(["a"]))
    warehouse.run(new_source().with_resources("batches"))
    warehouse.run(new_source())
    assert (contents(warehouse), api.looks("a")) == (completed(a=3), 3)


def test_a_batch_without_results_counts_as_loaded_for_phone_results_alone(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    api.add_completed("empty", 0)
    for container in ("first", "second"):
        warehouse.run(new_source(["empty"]).with_resources("phone_results"), container)
    assert (warehouse.rows("phone_results"), api.looks("empty")) == ([], 1)


def test_a_batch_can_shrink_when_its_load_is_made_again(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    api.respond("a", bodies.completed("a", 3), bodies.completed("a", 2))
    warehouse.run(new_source(["a"]))
    assert contents(warehouse) == completed(a=3)
    warehouse.sql("UPDATE _dlt_loads SET status = 1")  # as that of a load which was not completed
    warehouse.run(new_source(["a"]))
    assert (contents(warehouse), api.looks("a")) == (completed(a=2), 2)


def test_no_state_grows_with_the_number_of_batches(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    pipeline = warehouse.pipeline()
    sizes = []
    for count in (3, 300):
        pipeline.run(new_source([api.add_completed(f"{count}-{number}", 1) for number in range(count)]))
        stored = warehouse.sql("SELECT count(*), sum(octet_length(encode(state))) FROM _dlt_pipeline_state")
        sizes.append((stored, len((Path(pipeline.working_dir) / "state.json").read_bytes())))
    assert len(warehouse.rows("batches")) == 303
    (few, few_local), (many, many_local) = sizes
    assert many == few
    assert abs(many_local - few_local) < 100


# Incremental: what is lost on the way --------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["second", "first"], ids=["fresh container", "deleted working folder"])
def test_without_its_working_folder_it_still_knows_what_is_loaded(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, container: str
) -> None:
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


@pytest.mark.parametrize("table", ["batches", "phone_results_ledger"])
def test_a_run_killed_half_way_through_its_load_is_made_good_by_the_next(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, table: str
) -> None:
    api.add_ongoing("was-ongoing", 1, 3)
    warehouse.run(new_source(["was-ongoing"]))
    api.add_completed("new", 2)
    run_killed_after_the_merge_of(table, api, warehouse, ["new"])
    # The table is as the killed run wants it, and no other is.
    done = [("new", "completed"), ("was-ongoing", "completed")]
    assert warehouse.sql(f"SELECT batch_id, status FROM {table} ORDER BY 1") == done
    assert warehouse.rows("phone_results") == []
    assert warehouse.sql("SELECT batch_id, status FROM batch_stats") == [("was-ongoing", "ongoing")]
    # Neither id is given to it.
    warehouse.run(new_source(), "fresh")
    assert contents(warehouse) == completed(**{"new": 2, "was-ongoing": 3})
    assert fetches(api, ["new", "was-ongoing"]) == [2, 3]
    warehouse.run(new_source(["new", "was-ongoing"]), "fresh")
    assert fetches(api, ["new", "was-ongoing"]) == [2, 3]


@pytest.mark.parametrize("given", [True, False])
def test_a_load_that_is_not_among_the_completed_ones_is_made_again(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, given: bool
) -> None:
    api.add_completed("kept", 1)
    api.add_completed("lost", 3)
    warehouse.run(new_source(["kept"]))
    warehouse.run(new_source(["lost"]))
    warehouse.sql("DELETE FROM phone_results WHERE batch_id = 'lost'")
    warehouse.sql("DELETE FROM batch_stats WHERE batch_id = 'lost'")
    warehouse.sql("DELETE FROM _dlt_loads WHERE load_id = (SELECT max(load_id) FROM _dlt_loads)")
    warehouse.run(new_source(["kept", "lost"] if given else []), "second")
    assert (contents(warehouse), fetches(api, ["kept", "lost"])) == (completed(kept=1, lost=3), [1, 2])


def test_a_package_that_waits_in_the_folder_is_loaded_and_then_counts(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
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
    assert (contents(warehouse), api.looks("a")) == (completed(a=2), 2)


# Incremental: what is dropped on purpose -----------------------------------------------------------------------------


@pytest.fixture
def loaded(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> Iterator[Warehouse]:
    """A warehouse that holds the batches a, b and c."""
    warehouse.run(new_source([api.add_completed(batch_id, 2) for batch_id in "abc"]))
    assert fetches(api, "abc") == [1, 1, 1]
    yield warehouse
    warehouse.run(new_source(["a", "b", "c"]))
    assert contents(warehouse) == completed(a=2, b=2, c=2)


@pytest.mark.parametrize("refresh", ["drop_sources", "drop_resources", "drop_data"])
def test_a_refresh_loads_all_that_is_given_anew(
    api: SimulatedEnrow, new_source: NewSource, loaded: Warehouse, refresh: str
) -> None:
    loaded.run(new_source(["a", "b"]), refresh=refresh)
    assert (contents(loaded), fetches(api, "abc")) == (completed(a=2, b=2), [2, 2, 1])


def test_a_refresh_of_the_results_alone_leaves_the_others(
    api: SimulatedEnrow, new_source: NewSource, loaded: Warehouse
) -> None:
    loaded.run(new_source(["a"]).with_resources("phone_results"), refresh="drop_resources")
    assert contents(loaded) == completed(a=2, b=2, c=2) | {
        table: completed(a=2)[table] for table in ("phone_results", "phone_results_ledger")
    }
    assert fetches(api, "abc") == [2, 1, 1]


def test_replace_for_the_run_loads_all_that_is_given_anew(
    api: SimulatedEnrow, new_source: NewSource, loaded: Warehouse
) -> None:
    loaded.run(new_source(["a", "b"]), write_disposition="replace")
    assert (contents(loaded), fetches(api, "abc")) == (completed(a=2, b=2), [2, 2, 1])


def test_replace_for_the_results_alone_leaves_the_others(
    api: SimulatedEnrow, new_source: NewSource, loaded: Warehouse
) -> None:
    source = new_source(["a"])
    source.resources["phone_results"].apply_hints(write_disposition="replace")
    loaded.run(source)
    assert contents(loaded) == completed(a=2, b=2, c=2) | {
        table: completed(a=2)[table] for table in ("phone_results", "phone_results_ledger")
    }
    assert fetches(api, "abc") == [2, 1, 1]


def test_files_become_delta_tables_and_nothing_else(new_source: NewSource, tmp_path: Path) -> None:
    lake = dlt.destinations.filesystem(str(tmp_path / "lake"))
    pipeline = dlt.pipeline("lake", destination=lake, dataset_name="enrow_data", pipelines_dir=str(tmp_path / "lake"))
    with pytest.raises(PipelineStepFailed, match=r"table_format of batches is 'iceberg': leave it out, for delta"):
        pipeline.run(new_source([]), table_format="iceberg")
    pipeline.abort_packages()
    pipeline.extract(new_source([]))
    formats = {table.get("table_format") for table in pipeline.default_schema.data_tables()}
    assert formats == {"delta"}
    assert pipeline.default_schema.tables["phone_results"]["write_disposition"] == "append"
    assert pipeline.default_schema.tables["phone_results_ledger"]["write_disposition"] == "merge"


def test_a_run_that_dies_after_it_removed_rows_is_made_good_by_the_next(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    """Rows of a batch that comes back without any go before the load, which may then never come."""
    bodies_of = {"empties": (9, 0), "stays": (4, 4)}
    for batch_id, (first, then) in bodies_of.items():
        api.respond(batch_id, bodies.completed(batch_id, first), bodies.completed(batch_id, then))
    warehouse.run(new_source(list(bodies_of)).with_resources("phone_results"))
    pipeline = warehouse.pipeline()
    pipeline.extract(new_source(list(bodies_of)))
    pipeline.abort_packages()
    assert warehouse.sql("SELECT batch_id, count(*) FROM phone_results GROUP BY ALL") == [("stays", 4)]
    # Its id is not given any more: it is known to be missing.
    warehouse.run(new_source([]).with_resources("phone_results"), container="fresh")
    assert (api.looks("empties"), api.looks("stays")) == (3, 2)
    assert warehouse.sql("SELECT results_loaded FROM phone_results_ledger ORDER BY batch_id") == [(0,), (4,)]
    warehouse.run(new_source(list(bodies_of)).with_resources("phone_results"), container="fresh")
    assert (api.looks("empties"), api.looks("stays")) == (3, 2)
