"""Batch ids from a SQL query."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest

from enrow_source import ConfigurationError, batch_ids_from_query
from enrow_source.ids.input import read_batch_ids
from enrow_source.testing import SimulatedEnrow
from tests.conftest import NewSource
from tests.support.postgres import Postgres
from tests.support.warehouse import Warehouse

pytest_plugins = ("tests.support.postgres",)


def uuid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def submit(postgres: Postgres, numbers: Iterable[int]) -> None:
    for number in numbers:
        postgres.query(
            "INSERT INTO submissions (id, day, at, plain, word)"
            " VALUES (%s, date '2026-01-01' + %s, timestamptz '2026-01-01 10:00+02' + %s * interval '1 day',"
            " timestamp '2026-01-01' + %s * interval '1 day', %s)",
            uuid_of(number),
            number,
            number,
            number,
            f"w{number:03}",
        )


def sqlalchemy_url(postgres: Postgres) -> str:
    return postgres.url.replace("postgresql://", "postgresql+psycopg2://")


@pytest.mark.parametrize(
    "cursor", ["at", *(pytest.param(each, marks=pytest.mark.slow) for each in ("number", "day", "plain", "AT"))]
)
@pytest.mark.parametrize("where", ["database", "destination"])
def test_a_query_reads_what_is_new(submissions: Postgres, tmp_path: Path, cursor: str, where: str) -> None:
    """On the destination itself too: here both are the same server."""
    destination = dlt.destinations.postgres(submissions.url)
    query = "SELECT id::text AS id, number, day, at, plain, word FROM public.submissions"
    query += " WHERE word LIKE 'w%' AND ':x' <> '';"
    seen: list[list[str]] = []

    @dlt.source(name="enrow")
    def enrow() -> Any:
        database = sqlalchemy_url(submissions) if where == "database" else None
        ids = batch_ids_from_query(query, database=database, cursor=cursor, lag_s=10)

        @dlt.resource(name="read")
        def found() -> Iterator[Any]:
            seen.append(list(read_batch_ids(ids)))
            yield [{"batch_id": batch_id} for batch_id in seen[-1]]

        return found

    dataset = f"query_{where}_{cursor}".lower()
    for numbers in ((1, 2), (), (3,)):
        submit(submissions, numbers)
        pipeline = dlt.pipeline("enrow", destination=destination, dataset_name=dataset, pipelines_dir=str(tmp_path))
        pipeline.run(enrow())
    again = [uuid_of(1), uuid_of(2)] if cursor == "day" else [uuid_of(2)]  # the lag of a column of dates is a day
    assert seen == [[uuid_of(1), uuid_of(2)], again, [*again, uuid_of(3)]]


def test_a_query_in_the_configuration(
    submissions: Postgres, api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    submit(submissions, (1, 2))
    submissions.query("INSERT INTO submissions (id) VALUES (null), (%s)", uuid_of(9))
    for number in (1, 2, 9):
        api.add_completed(uuid_of(number), 1)
    options = {
        "batch_ids_query": "SELECT id, at FROM submissions",
        "batch_ids_cursor": "at",
        "batch_ids_database": sqlalchemy_url(submissions),
    }
    for _ in range(2):
        warehouse.run(new_source(**options))
    assert [api.fetches(uuid_of(number)) for number in (1, 2, 9)] == [1, 1, 1]


@pytest.mark.slow
def test_a_query_on_the_destination(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    warehouse.pipeline().run([{"id": api.add_completed("a", 1)}], table_name="submissions")
    for _ in range(2):
        warehouse.run(new_source(batch_ids_query="SELECT id FROM submissions"))
    assert api.fetches("a") == 1


@pytest.mark.parametrize(
    "options,message",
    [
        ({"batch_ids_cursor": "at"}, "batch_ids_cursor needs batch_ids_query"),
        ({"batch_ids_query": "SELECT 1", "batch_ids_cursor": "a; DROP"}, "no column batch_id, bulk_id or id"),
        ({"batch_ids_query": "SELECT 1 AS number"}, "has no column batch_id, bulk_id or id, but number"),
        ({"batch_ids_query": "SELECT 'a' AS id", "batch_ids_cursor": "at"}, "has no column at"),
        ({"batch_ids_query": "SELECT id FROM nowhere"}, "reads what the destination does not have"),
        ({"batch_ids_query": "SELECT 1 AS id", "batch_ids_database": "nonsense://x"}, "nonsense"),
    ],
)
def test_a_query_that_gives_no_ids_is_named(
    new_source: NewSource, warehouse: Warehouse, api: SimulatedEnrow, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(Exception, match=message):
        warehouse.run(new_source(**options))
    assert api.requests == []


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM phone_results",
        "DROP TABLE batches",
        "SELECT 1 AS id; DROP TABLE batches",
        "WITH gone AS (DELETE FROM batches RETURNING batch_id AS id) SELECT * FROM gone",
        "SELECT 1 AS id INTO batches",
        "not SQL",
        "",
    ],
)
def test_a_query_that_is_no_select_is_refused(query: str) -> None:
    with pytest.raises(ConfigurationError, match="write one SELECT"):
        batch_ids_from_query(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS id",
        "SELECT a AS id FROM b UNION ALL SELECT c FROM d;",
        "WITH ids AS (SELECT 1 AS id) SELECT * FROM ids",
        "FROM sent SELECT id",
        "SELECT id FROM `project.dataset.sent` -- sent today",
    ],
)
def test_any_select_is_taken(query: str) -> None:
    assert batch_ids_from_query(query).name
