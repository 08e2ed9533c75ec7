"""Odd batch ids: none gets into SQL or the URL."""

import json
from pathlib import Path
from urllib.parse import quote_plus

import dlt
import pytest

from enrow_source import InvalidBatchIdError
from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.conftest import Load
from tests.support import faults_page
from tests.support.faults_page import Seen, batch_rows
from tests.support.malformed import LONG, PROFILE, RESULT, ROW, STATS, Case, as_json, healthy
from tests.support.postgres import Postgres
from tests.support.warehouse import Row, Warehouse

pytest_plugins = ("tests.support.postgres",)

IDS = {
    "%s": "a parameter of Python's drivers",
    "%(id)s": "a named one",
    "?": "a parameter of other drivers",
    "$1": "another one",
    "../": "a path",
    "../../account/info": "another path",
    "//other.example/": "another host",
    "a&id=b": "another parameter",
    "a=b#c?d:e": "all that a URL knows",
    "%00": "a percent escape",
    "%2e%2e%2f": "more of them",
    "a+b": "a plus",
    "éß日本": "no ASCII",
    "\U0001f600": "an emoji",
    "NULL": "SQL's null",
    "i" * 255: "255 characters",
}

REFUSED = [
    "x' OR 1=1 --",
    '"; DROP TABLE batches; --',
    "a\\",
    "a b",
    "two\nlines",
    "bell\a",
    "{id}",
    "<script>",
    "i" * 256,
]


def test_no_odd_id_gets_into_sql_or_the_url(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> None:
    ids = list(IDS)
    for batch_id in ids:
        loaded = {"general": {"id": batch_id, "status": "completed"}, "stats": STATS, "results": [RESULT]}
        api.respond(batch_id, bodies.ongoing(batch_id, 1, 0), loaded)
    first = load(ids)
    assert (first.ongoing, first.unreadable) == (len(ids), 0)
    asked = [(request.path, request.query) for request in api.requests]
    # The balance is asked for once, by each run.
    assert sorted(asked) == [("/account/info", ""), *sorted(("/phone/bulk", f"id={quote_plus(i)}") for i in ids)]

    # Without their names: the ledger has them.
    second = load([])
    assert (second.completed, second.unreadable) == (len(ids), 0)
    # With few ids they are named in the statement, with many they are not.
    many = [f"pad-{number:03}" for number in range(501)]
    assert load(ids).fetched == 0
    assert load([*ids, *many], max_batches=1).fetched == 1
    assert {batch_id: api.fetches(batch_id) for batch_id in ids} == dict.fromkeys(ids, 2)

    seen = batch_rows(warehouse)
    assert [i for i in ids if seen[i].results != [ROW] or seen[i].batches != [{"status": "completed"}]] == []
    results = {"batches", "batch_stats", "phone_results", "phone_results_ledger", "batch_errors"}
    assert results < warehouse.tables() <= {*results, "enrow_runs", "account_credits", "deferred_batch_ids"}
    faults_page.check(
        "Malformed and odd ids",
        [
            Seen(
                f"{faults_page.shown(batch_id)}, {what}",
                f"asked for it {api.fetches(batch_id)} times: ongoing, then completed",
                f"`batches`, `phone_results`: {len(seen[batch_id].results)} row",
            )
            for batch_id, what in IDS.items()
        ],
    )


@pytest.mark.parametrize("batch_id", ["a\0b", "a\ud800b", *REFUSED], ids=repr)
def test_unstorable_id_is_refused(api: SimulatedEnrow, load: Load, batch_id: str) -> None:
    """An id that no destination can store, or that no API gives, is refused."""
    with pytest.raises(InvalidBatchIdError, match=r"batch_ids\[1\]"):
        load([healthy(api, "healthy"), batch_id])
    assert api.requests == []


@pytest.mark.slow
def test_postgres_takes_what_it_refuses_itself(
    api: SimulatedEnrow, load: Load, postgres: Postgres, tmp_path: Path
) -> None:
    unstorable = "a\0b\ud800c"
    params: Row = {"linkedin_url": PROFILE, "firstname": unstorable, unstorable: unstorable}
    custom = {unstorable: [unstorable]}
    general: Row = {"status": "completed", "custom": custom, unstorable: unstorable}
    for batch_id in ("NUL", *IDS):
        result = RESULT | {"custom": custom, "params": params}
        stats = STATS | {unstorable: unstorable}
        answer: Row = {"general": {"id": batch_id, **general}, "stats": stats, "results": [result]}
        api.respond(batch_id, as_json(answer).encode())
    api.respond("message", Response(400, b'{"message": "a\\u0000b"}'))
    api.respond("surrogate", Response(400, b'{"message": "a\\ud800b"}'))
    api.respond("long-key", Case("", results=[RESULT | {"params": {LONG: "1", LONG + "x": "2"}}]).answer("long-key"))
    postgres_pipeline = dlt.pipeline(
        "malformed",
        destination=dlt.destinations.postgres(postgres.url),
        dataset_name="malformed",
        pipelines_dir=str(tmp_path / "pipelines"),
    )
    ids = ["NUL", *IDS, "message", "surrogate", "long-key"]
    report = load(ids, pipeline=postgres_pipeline)
    assert (report.completed, report.unreadable) == (len(IDS) + 2, 2)
    assert load(ids[:-3], pipeline=postgres_pipeline).fetched == 0

    rows = postgres.query("SELECT * FROM malformed.phone_results WHERE batch_id = 'NUL'")
    assert [row["params__firstname"] for row in rows] == ["a�b�c"]
    assert [json.loads(row["custom"]) for row in rows] == [{"a�b�c": ["a�b�c"]}]
    found = postgres.query("SELECT batch_id FROM malformed.phone_results ORDER BY 1")
    assert sorted(row["batch_id"] for row in found) == sorted(["NUL", *IDS, "long-key"])
    (long,) = postgres.query("SELECT * FROM malformed.phone_results WHERE batch_id = 'long-key'")
    assert sorted(value for column, value in long.items() if column.startswith("params__long")) == ["1", "2"]
    messages = postgres.query("SELECT batch_id, message FROM malformed.batch_errors ORDER BY 1")
    assert [row["message"] for row in messages] == ["a�b", "Bad Request"]
