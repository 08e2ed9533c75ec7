"""The tables: raw JSON in, whole Arrow rows out; nothing that an answer holds is lost on the way."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import dlt
import pyarrow as pa
import pytest
from dlt.common.normalizers.naming import snake_case
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enrow_source.api.models import Batch
from enrow_source.api.parser import parse_batch
from enrow_source.errors import ErrorKind, InvalidResponseError, RequestFailedError
from enrow_source.tables.rows import (
    FetchedBatch,
    RowContext,
    batch_errors_table,
    batch_stats_table,
    batches_table,
    joined,
    phone_results_ledger_table,
    phone_results_table,
)
from enrow_source.tables.schema import TABLES
from enrow_source.tables.undocumented_columns import ColumnNames, NameRules
from tests.support.strategies import BATCH_ID, Json, broken_bodies, odd_bodies, payloads

AT = datetime(2026, 3, 1, 4, 30, 0, 123456, tzinfo=UTC)
STAMPS = {"fetched_at": AT, "_dlt_load_id": "1772339400.5"}
PROPERTY = settings(max_examples=100, deadline=None)
SNAKE_CASE = dlt.Schema("x").naming
SNAKE_CASE_OF_POSTGRES = snake_case.NamingConvention(max_length=63)

COMPLETED = b"""{
    "general": {"id": "e3b61122-d6a6-4ea7-b331-9b734682a76a", "status": "completed", "custom": {"crm": "17"}},
    "stats": {"requested": 2, "found": 1, "credits_cost": 40.5, "credits_to_refund": "39.5"},
    "results": [
        {"index": 0, "qualification": "found", "number": "+12025550147", "country": "US", "custom": "lead-1",
         "params": {"linkedin_url": "https://www.linkedin.example/in/ann-lee"}},
        {"index": "1", "qualification": "not_found", "params":
         {"firstname": "Bo", "lastname": "Diaz", "company_domain": "acme.example", "company_name": "Acme"}}]
}"""
ONGOING = b"""{"general": {"id": "e3b61122-d6a6-4ea7-b331-9b734682a76a", "status": "ongoing"},
               "stats": {"requested": 2, "finished": 1}}"""
PARAMS = ["linkedin_url", "firstname", "lastname", "company_domain", "company_name"]
FIELDS = ["index", "qualification", "number", "country", "custom", *(f"params__{name}" for name in PARAMS)]
NO_RESULT = {"batch_id": BATCH_ID, **dict.fromkeys(FIELDS), **STAMPS}


def context(existing: Mapping[str, list[str]] | None = None, limit: int = 300, naming: Any = SNAKE_CASE) -> RowContext:
    return RowContext("1772339400.5", ColumnNames(NameRules(naming.normalize_path), existing or {}, limit))


def parse(payload: Json | bytes) -> Batch:
    return parse_batch(BATCH_ID, payload if isinstance(payload, bytes) else json.dumps(payload).encode())


def completed(general: Json | None = None, **parts: Any) -> Batch:
    return parse({"general": {"id": BATCH_ID, "status": "completed", **(general or {})}, **parts})


def rows(table: pa.Table) -> list[Json]:
    return list(table.to_pylist())


def phone_results(results: list[Json], to: RowContext | None = None) -> list[Json]:
    return rows(phone_results_table(completed(results=results), AT, to or context()))


def tables(batch: Batch) -> list[pa.Table]:
    seen, to = [FetchedBatch(batch, AT, batch.results.count if batch.is_completed else 0)], context()
    return [
        batches_table(seen, to),
        batch_stats_table(seen, to),
        phone_results_ledger_table(seen, to),
        phone_results_table(batch, AT, to),
    ]


def values(row: Json) -> list[str]:
    """Every text that a row holds, in columns and in overflows."""
    overflows = [json.loads(row[name] or "{}") for name in ("overflow", "params__overflow") if name in row]
    return sorted(str(value) for part in [row, *overflows] for value in part.values())


# Rows -------------------------------------------------------------------------------------------------------------


def test_rows_of_a_completed_batch() -> None:
    batches, stats, ledger, results = map(rows, tables(parse(COMPLETED)))
    seen = {"batch_id": BATCH_ID, "status": "completed"}
    assert batches == [{**seen, "custom": '{"crm": "17"}', "first_seen_at": AT, **STAMPS}]
    assert stats == [
        {
            **seen,
            "requested": 2,
            "finished": None,
            "found": 1,
            "credits_cost": Decimal("40.5"),
            "credits_to_refund": Decimal("39.5"),
            "results_received": 2,
            "found_received": 1,
            **STAMPS,
        }
    ]
    assert ledger == [{**seen, "results_loaded": 2, **STAMPS}]
    assert results == [
        {
            **NO_RESULT,
            "index": 0,
            "qualification": "found",
            "number": "+12025550147",
            "country": "US",
            "custom": '"lead-1"',
            "params__linkedin_url": "https://www.linkedin.example/in/ann-lee",
        },
        {
            **NO_RESULT,
            "index": 1,
            "qualification": "not_found",
            "params__firstname": "Bo",
            "params__lastname": "Diaz",
            "params__company_domain": "acme.example",
            "params__company_name": "Acme",
        },
    ]


def test_unfinished_batch_gives_no_results() -> None:
    """A batch that has not finished gives no results, even where some arrived."""
    batches, stats, ledger, results = map(
        rows, tables(parse(ONGOING[:-1] + b', "results": [{"qualification": "found"}, {}]}'))
    )
    seen = {"batch_id": BATCH_ID, "status": "ongoing"}
    assert batches == [{**seen, "custom": None, "first_seen_at": AT, **STAMPS}]
    counts = {"requested": 2, "finished": 1, "found": None, "results_received": 2, "found_received": 1}
    assert stats == [{**seen, **counts, "credits_cost": None, "credits_to_refund": None, **STAMPS}]
    assert ledger == [{**seen, "results_loaded": 0, **STAMPS}]
    assert results == []


def test_rows_of_errors() -> None:
    no_answer = RequestFailedError("the connection was refused", ErrorKind.CONNECTION)
    errors = [("a", no_answer, AT), ("b", InvalidResponseError("general is missing", 200), AT)]
    assert rows(batch_errors_table(errors, context())) == [
        {"batch_id": "a", "http_status": None, "kind": "connection", "message": "the connection was refused", **STAMPS},
        {"batch_id": "b", "http_status": 200, "kind": "invalid_response", "message": "general is missing", **STAMPS},
    ]


STAMP_FIELDS = ", fetched_at: timestamp[us, tz=UTC] not null, _dlt_load_id: string not null"
SCHEMAS = [
    "batch_id: string not null, status: string not null, custom: string, first_seen_at: timestamp[us, tz=UTC]",
    """batch_id: string not null, status: string not null, requested: int64, finished: int64, found: int64,
    credits_cost: decimal128(38, 9), credits_to_refund: decimal128(38, 9),
    results_received: int64 not null, found_received: int64 not null""",
    "batch_id: string not null, status: string not null, results_loaded: int64 not null",
    """batch_id: string not null, index: int64, qualification: string, number: string, country: string, custom: string,
    params__linkedin_url: string, params__firstname: string, params__lastname: string,
    params__company_domain: string, params__company_name: string""",
    "batch_id: string not null, http_status: int64, kind: string not null, message: string not null",
]


def test_tables_have_their_declared_columns() -> None:
    """Every table has its declared columns, whatever arrived."""
    seen = [make([], context()) for make in (batches_table, batch_stats_table, phone_results_ledger_table)]
    nothing = [*seen, joined([]), batch_errors_table([], context())]
    for made in (
        nothing,
        *(tables(parse(body)) for body in (COMPLETED, ONGOING, b'{"general": {"status": "failed"}}')),
    ):
        schemas = [str(table.schema).replace("\n", ", ") for table in made]
        assert schemas == [" ".join(declared.split()) + STAMP_FIELDS for declared in SCHEMAS[: len(made)]]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_columns_are_declared_and_described(table: Any) -> None:
    """Every column is declared to dlt as to Arrow, and described."""
    assert table.description.endswith(".")
    for column, field in zip(table.columns, table.arrow, strict=True):
        assert (column.hints["name"], column.hints["nullable"]) == (field.name, field.nullable)
        assert column.hints["description"].endswith(".")


# Undocumented fields ------------------------------------------------------------------------------------------------


def test_undocumented_fields_become_text() -> None:
    """Undocumented fields become text columns of their table."""
    batch = completed(
        {"name": "Spring", "owner": {"id": 7}},
        warnings=[],
        stats={"invalid": 1, "credits_cost": {"initial": 100, "final": 80}},
        results=[{"score": 0.5, "params": {"Dept": "Sales", "tags": ["a"]}}, {"carrier": "Acme", "score": True}],
    )
    batches, stats, _, results = tables(batch)
    seen = {"batch_id": BATCH_ID, "status": "completed", **STAMPS}
    assert rows(batches) == [
        {**seen, "custom": None, "first_seen_at": AT, "name": "Spring", "owner": '{"id": 7}', "warnings": "[]"}
    ]
    assert (rows(stats)[0]["invalid"], rows(stats)[0]["credits_cost__initial"]) == ("1", "100")
    assert rows(results) == [
        {**NO_RESULT, "score": "0.5", "carrier": None, "params__dept": "Sales", "params__tags": '["a"]'},
        {**NO_RESULT, "score": "true", "carrier": "Acme", "params__dept": None, "params__tags": None},
    ]
    added = ["carrier", "params__dept", "params__tags", "score"]
    assert [(f.name, str(f.type), f.nullable) for f in results.schema][-4:] == [(n, "string", True) for n in added]


def test_keys_with_one_column_name() -> None:
    """Keys that become one column share it, and in one row the second one overflows."""
    results = [{"dept": "1"}, {"Dept": "2"}, {"Dept": "3", "dept": "4"}]
    assert phone_results(results) == [
        {**NO_RESULT, "dept": "1", "overflow": None},
        {**NO_RESULT, "dept": "2", "overflow": None},
        {**NO_RESULT, "dept": "3", "overflow": '{"dept": "4"}'},
    ]


def test_key_takes_no_declared_column() -> None:
    """An undocumented key never takes a declared column or one of dlt's."""
    result = {"batch_id": "x", "Index": "7", "_dlt_id": "y", "overflow": "z", "params__firstname": "f"}
    assert phone_results([{**result, "params": {"LinkedIn_URL": "v", "_dlt_load_id": "w", "index": 3}}]) == [
        {
            **NO_RESULT,
            "result__batch_id": "x",
            "result__index": "7",
            "result___dlt_id": "y",
            "result__overflow": "z",
            "result__params__firstname": "f",
            "params__linked_in_url": "v",
            "params___dlt_load_id": "w",
            "params__index": "3",
        }
    ]


def test_fields_past_the_limit_overflow() -> None:
    """Undocumented fields past the limit go to the overflow column."""
    to = context({"phone_results": ["batch_id", "index", "old"]}, limit=2)
    assert phone_results([{"new": 1, "newer": "x", "old": {}, "params": {"dept": "Sales"}}], to) == [
        {
            **NO_RESULT,
            "new": "1",
            "old": "{}",
            "overflow": '{"newer": "x"}',
            "params__overflow": '{"dept": "Sales"}',
        }
    ]
    assert to.names.overflowed == {("phone_results", "newer"), ("phone_results", "dept")}
    assert phone_results([{"new": 2}], to) == [{**NO_RESULT, "new": "2"}]
    [stats] = rows(batch_stats_table([FetchedBatch(completed(stats={"new": 1}), AT)], to))
    assert stats["new"] == "1"  # each table has a limit of its own


ODD_KEYS = [
    *("Dept", "dept", "LinkedIn_URL", "linkedin_url", "batch_id", "Batch_ID", "_dlt_load_id", "_dlt", "overflow"),
    *("params__overflow", "result__overflow", "result__batch_id", "Index", "fetched_at", "", " ", "_", "__", "!", "é"),
    *("a__b", "a b", "a_b", "a__", "__a", "1a", "x" * 500, "x" * 499 + "y", "x'); DROP TABLE batches; --", "\n"),
]
DOCUMENTED = [
    *("general", "id", "status", "custom", "results", "index", "params"),
    *("stats", "requested", "finished", "found", "valid", "credits_cost", "credits_to_refund"),
]
keys = (st.text() | st.sampled_from(ODD_KEYS)).filter(lambda key: key not in DOCUMENTED)
odd_keys = st.lists(keys, unique=True, max_size=8)


@pytest.mark.parametrize("naming", [SNAKE_CASE, SNAKE_CASE_OF_POSTGRES], ids=["snake_case", "of 63 characters"])
@PROPERTY
@example(ODD_KEYS, ODD_KEYS)
@given(odd_keys, odd_keys)
def test_no_value_is_lost_whatever_the_keys(naming: Any, outer_keys: list[str], inner_keys: list[str]) -> None:
    outer = {key: f"outer {number}" for number, key in enumerate(outer_keys)}
    inner = {key: f"inner {number}" for number, key in enumerate(inner_keys)}
    batch = completed(inner, **outer, stats=inner, results=[{**outer, "params": inner}])
    to = context(naming=naming)
    made = [
        (batches_table([FetchedBatch(batch, AT)], to), [*outer.values(), *inner.values()]),
        (batch_stats_table([FetchedBatch(batch, AT)], to), [*inner.values()]),
        (phone_results_table(batch, AT, to), [*outer.values(), *inner.values()]),
    ]
    for table, sent in made:
        arrived = [value for value in values(rows(table)[0]) if value.startswith(("outer ", "inner "))]
        assert arrived == sorted(sent)
        assert [naming.normalize_path(name) for name in table.column_names] == table.column_names
        assert all(table.column_names)


def test_results_with_different_columns_join() -> None:
    """Results of batches with different columns are joined."""
    made = [[{"index": 0, "score": 1}], [], [{"index": 0, "params": {"dept": "Sales"}}]]
    table = joined(phone_results_table(completed(results=results), AT, context()) for results in made)
    assert rows(table) == [
        {**NO_RESULT, "index": 0, "score": "1", "params__dept": None},
        {**NO_RESULT, "index": 0, "score": None, "params__dept": "Sales"},
    ]
    assert table.schema.names == [*NO_RESULT, "score", "params__dept"]
    assert table.schema.field("batch_id").nullable is False


# Properties ---------------------------------------------------------------------------------------------------------


def as_sent(row: Json) -> Json:
    """Turn a row of `phone_results` back into the result that it was made from."""
    result = {name: row[name] for name in ("index", "qualification", "number", "country") if row[name] is not None}
    result["params"] = {name: row[f"params__{name}"] for name in PARAMS if row[f"params__{name}"] is not None}
    return result if row["custom"] is None else {**result, "custom": json.loads(row["custom"])}


@PROPERTY
@given(payloads())
def test_rows_hold_what_was_sent(payload: Json) -> None:
    """The rows hold everything that was sent."""
    [batches], [stats], [ledger], results = map(rows, tables(parse(payload)))
    sent = payload.get("results") or []
    assert [as_sent(row) for row in results] == [
        {key: value for key, value in result.items() if value is not None} for result in sent
    ]
    claimed = {name: stats[name] for name in ("requested", "finished", "found", "credits_cost", "credits_to_refund")}
    assert {name: value for name, value in claimed.items() if value is not None} == payload.get("stats", {})
    found = sum(row["qualification"] == "found" for row in results)
    assert (stats["results_received"], stats["found_received"], ledger["results_loaded"]) == (
        len(sent),
        found,
        len(sent),
    )
    assert json.loads(batches["custom"] or "null") == payload["general"].get("custom")


@PROPERTY
@given(payloads())
def test_the_same_answer_twice_gives_equal_tables(payload: Json) -> None:
    assert tables(parse(payload)) == tables(parse(payload))


@settings(PROPERTY, max_examples=300)
@given(odd_bodies | broken_bodies())
def test_whatever_parses_becomes_rows(body: bytes) -> None:
    try:
        batch = parse_batch(BATCH_ID, body)
    except InvalidResponseError:
        return
    loaded = batch.results.count if batch.is_completed else 0
    assert [table.num_rows for table in tables(batch)] == [1, 1, 1, loaded]
