"""dlt does a job again whose answer was lost, and Postgres may have committed it."""

from collections.abc import Iterator
from typing import Any

import dlt
import pytest
from dlt.destinations.exceptions import DatabaseTransientException
from dlt.destinations.impl.postgres.postgres import PostgresCsvCopyJob, PostgresParquetCopyJob
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source.testing import SimulatedEnrow
from tests.conftest import NewSource
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)

COUNTS = " UNION ALL ".join(
    f"SELECT '{table}', count(*) FROM {table}"
    for table in ("batches", "batch_stats", "phone_results", "phone_results_ledger")
)
RIGHT = {"batches": 1, "batch_stats": 1, "phone_results": 5, "phone_results_ledger": 1}


@pytest.fixture
def pipeline(postgres: Postgres) -> Iterator[dlt.Pipeline]:
    """Of a dataset that is there for one test."""
    yield dlt.pipeline("retried", destination=dlt.destinations.postgres(postgres.url), dataset_name="retried")
    for name in ("retried", "retried_staging"):
        postgres.query(f"DROP SCHEMA IF EXISTS {name} CASCADE")


def counts(pipeline: dlt.Pipeline) -> dict[str, int]:
    with pipeline.sql_client() as client:
        return {str(name): int(rows) for name, rows in client.execute_sql(COUNTS) or ()}


def lose_answer(monkeypatch: pytest.MonkeyPatch, table: str, *, is_committed: bool) -> None:
    """Let the connection end once when rows of a table are copied: after that is committed, or before."""
    lost: list[str] = []

    def losing(original: Any) -> Any:
        def run(job: Any) -> None:
            loses = job.load_table_name == table and not lost
            if is_committed or not loses:
                original(job)
            if loses:
                lost.append(table)
                raise DatabaseTransientException(ConnectionError("closed"))

        return run

    for kind in (PostgresCsvCopyJob, PostgresParquetCopyJob):
        monkeypatch.setattr(kind, "run", losing(kind.run))


@pytest.mark.parametrize("table", ["phone_results", "batches"])
def test_a_copy_that_was_committed_twice(
    api: SimulatedEnrow,
    new_source: NewSource,
    pipeline: dlt.Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
) -> None:
    """The load fails, and counts as killed: the next one puts it right."""
    with monkeypatch.context() as patch:
        lose_answer(patch, table, is_committed=True)
        with pytest.raises(PipelineStepFailed, match="was done twice"):
            pipeline.run(new_source([api.add_completed("a", 5)]))
    pipeline.run(new_source([]))
    assert counts(pipeline) == RIGHT
    assert api.fetches("a") == 2


def test_a_copy_that_was_not_committed(
    api: SimulatedEnrow,
    new_source: NewSource,
    pipeline: dlt.Pipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second try is the only one that counts."""
    lose_answer(monkeypatch, "phone_results", is_committed=False)
    pipeline.run(new_source([api.add_completed("a", 5)]))
    pipeline.run(new_source(["a"]))
    assert counts(pipeline) == RIGHT
    assert api.fetches("a") == 1
