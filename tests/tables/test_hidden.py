"""With `pii="hash"` or `"drop"`, nobody stands in clear in what a run writes, wherever the API may name them."""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg2  # type: ignore[import-untyped]  # it has no types
import pyarrow.parquet as pq
import pytest

from enrow_source import run
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.runner.report import ExitCode
from enrow_source.testing import Response, SimulatedEnrow
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)

SECRET = "recognisable-secret-91ab"
PERSON = "recognisabella"
"""In every value and every name that is nobody's business."""

BODY = {
    f"top {PERSON}": f"top of {PERSON}",
    "general": {
        "id": "batch",
        "status": "completed",
        "custom": {f"campaign of {PERSON}": 1},
        f"{PERSON}_general": f"owner {PERSON}",
    },
    "stats": {"requested": 1, "found": 1, "credits_cost": 40, "credits_to_refund": 0, PERSON: f"by {PERSON}"},
    "results": [
        {
            "index": 0,
            "qualification": "found",
            "number": "+14155550123",
            "country": "US",
            "custom": f"note on {PERSON}",
            f"{PERSON}@mail.example": True,
            "params": {
                "firstname": PERSON,
                f"mail of {PERSON}": f"{PERSON}@mail.example",
                "email": f"{PERSON}@x.example",
            },
        }
    ],
}


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.slow)])
def destination(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "postgres":
        postgres: Postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres.url)
    return str(request.param)


def load(api: SimulatedEnrow, destination: str, **options: Any) -> ExitCode:
    api.respond("batch", BODY)
    api.respond("refused", Response.message(400, f"there is no {PERSON}"))
    api.respond("down", Response(500, {"message": f"{PERSON} broke it"}))
    report = run(
        ["batch", "refused", "down"],
        pipeline=build_pipeline(destination, "hidden"),
        enrow_api_key=api.api_key,
        enrow_base_url=api.url,
        pii_secret=SECRET,
        **options,
    )
    return report.exit_code


def everything(destination: str) -> Iterator[tuple[str, str]]:
    """Return each place of the working folder and of the destination, with what can be read there."""
    for file in (path for path in Path().rglob("*") if path.is_file()):
        yield f"{file} (its name)", file.name
        if file.suffix == ".parquet":
            yield str(file), repr(pq.read_table(file).to_pydict())
        elif file.suffix == ".gz":
            yield str(file), gzip.decompress(file.read_bytes()).decode()
        yield str(file), file.read_bytes().decode("latin-1")
    if destination == "postgres":
        connection = psycopg2.connect(os.environ["DESTINATION__POSTGRES__CREDENTIALS"])
        cursor = connection.cursor()
    else:
        connection = cursor = duckdb.connect("warehouse.duckdb")
    cursor.execute("SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema LIKE 'hidden%'")
    for schema, table in cursor.fetchall():
        cursor.execute(f'SELECT * FROM {schema}."{table}"')
        yield f"{schema}.{table}", repr([column[0] for column in cursor.description]) + repr(cursor.fetchall())
    connection.close()


def places(destination: str) -> list[str]:
    return [place for place, text in everything(destination) if PERSON in text]


def test_kept_data_is_found_by_this_search(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", "false")
    assert load(api, "duckdb") is ExitCode.PARTIAL
    found = places("duckdb")
    tables = ("batches", "batch_stats", "phone_results", "batch_errors", "_dlt_version")
    assert {f"hidden.{table}" for table in tables} <= set(found)
    assert any(place.endswith(".parquet") for place in found)


@pytest.mark.parametrize("pii", ["hash", pytest.param("drop", marks=pytest.mark.slow)])
def test_nobody_stands_in_clear(
    api: SimulatedEnrow,
    destination: str,
    pii: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", "false")
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")
    caplog.set_level(logging.DEBUG)
    assert load(api, destination, pii=pii) is ExitCode.PARTIAL
    assert places(destination) == []
    assert PERSON not in caplog.text


@pytest.mark.parametrize("pii", ["hash", pytest.param("drop", marks=pytest.mark.slow)])
def test_an_error_says_what_kind_it_was(api: SimulatedEnrow, pii: str) -> None:
    load(api, "duckdb", pii=pii)
    with duckdb.connect("warehouse.duckdb") as connection:
        rows = connection.execute("SELECT kind, http_status, message FROM hidden.batch_errors ORDER BY kind").fetchall()
    left_out = f"what the API says of it is left out, since pii is {pii}"
    assert rows == [
        ("expired_or_unknown", 400, f"HTTP 400; {left_out}"),
        ("server_error", 500, f"HTTP 500; {left_out}"),
    ]


def test_columns_of_before_get_no_more_values(api: SimulatedEnrow) -> None:
    """Columns of a time when everything was kept stay, and are null in rows that are hashed."""
    load(api, "duckdb")
    load_again = build_pipeline("duckdb", "hidden")
    with load_again.sql_client() as client:
        client.execute_sql("UPDATE batches SET _dlt_load_id = ''")
    load(api, "duckdb", pii="hash")
    with duckdb.connect("warehouse.duckdb") as connection:
        rows = connection.execute("SELECT params__email, params__overflow IS NULL FROM hidden.phone_results").fetchall()
    assert rows == [(None, False)]
