"""What a backfill publishes: never older than what is there, never whom somebody has erased, and once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from enrow_source import Subject, SubjectKind, enrow_source, erase
from enrow_source.destination.load_lock import load_lock
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.testing import SimulatedEnrow, bodies
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)
pytestmark = pytest.mark.timeout(300)

SECRET = "recognisable-secret-91ab"
NUMBER = "+14155550123"
OTHER = "+14155550199"

Query = Callable[[str], list[tuple[Any, ...]]]


def batch(batch_id: str, *numbers: str) -> dict[str, Any]:
    results = [
        {"index": index, "qualification": "found", "number": number, "country": "US", "params": {"firstname": "Nobody"}}
        for index, number in enumerate(numbers)
    ]
    stats = {"requested": len(numbers), "found": len(numbers), "credits_cost": 40, "credits_to_refund": 0}
    return {"general": {"id": batch_id, "status": "completed"}, "stats": stats, "results": results}


class Target:
    """A destination, and a lake beside it."""

    def __init__(self, destination: str, python: Path, environ: dict[str, str]) -> None:
        self.destination, self.dataset = destination, f"published_{os.getpid()}_{next(_number)}"
        self._python, self._environ = python, environ

    def load_lake(self, *ids: str) -> None:
        self._step("load", *ids)

    def publish(self) -> None:
        self._step("publish")

    def _step(self, *arguments: str) -> None:
        ended = self.start(*arguments)
        assert ended.returncode == 0, ended.stderr[-3000:]

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            str(self._python),
            str(Path(__file__).with_name("shards.py")),
            self.destination,
            self.dataset,
            str(Path("lake").absolute()),
        ]
        return subprocess.run(
            [*command, *arguments], env=self._environ, text=True, capture_output=True, timeout=250, check=False
        )

    def run(self, *ids: str) -> None:
        """Load as a schedule does."""
        build_pipeline(self.destination, self.dataset).run(enrow_source(ids))

    def erase(self, kind: SubjectKind, value: str) -> None:
        pipeline = build_pipeline(self.destination, self.dataset, pipeline_name="erasing", pipelines_dir="erasing")
        erase(pipeline, Subject(kind, value), execute=True)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        pipeline = build_pipeline(self.destination, self.dataset, pipelines_dir="asking")
        with pipeline.sql_client() as client:
            return [tuple(row) for row in client.execute_sql(statement) or ()]

    def people(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT batch_id, number FROM phone_results ORDER BY 1, 2")

    def loaded(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT batch_id, results_loaded FROM phone_results_ledger ORDER BY 1")


_number = iter(range(1_000))


@pytest.fixture(params=["duckdb", "postgres"])
def target(
    request: pytest.FixtureRequest,
    orchestration: Path,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Target:
    if request.param == "postgres":
        postgres: Postgres = request.getfixturevalue("postgres")
        environ["DESTINATION__POSTGRES__CREDENTIALS"] = postgres.url
    environ["SOURCES__ENROW__PII_SECRET"] = SECRET
    for name, value in environ.items():
        if name.startswith(("DESTINATION__", "SOURCES__", "ENROW_")):
            monkeypatch.setenv(name, value)
    return Target(request.param, orchestration / "python", environ)


in_postgres = pytest.mark.parametrize("target", ["postgres"], indirect=True)


def lake_numbers() -> set[str]:
    files = [file for file in Path("lake").rglob("*.parquet") if "phone_results" in file.parts]
    return {number for file in files for number in pq.read_table(file, columns=["number"]).column(0).to_pylist()}


def test_a_batch_that_was_fetched_twice(api: SimulatedEnrow, target: Target) -> None:
    """The same command once more, after a batch that was ongoing has ended."""
    ids = [api.add_ongoing("slow", 1, 3), api.add_completed("done", 2)]
    for _ in range(2):
        target.load_lake(*ids)
        target.publish()
    assert target.loaded() == [("done", 2), ("slow", 3)]
    assert len(target.people()) == 5
    assert api.fetches("done") == 1
    rows = target.sql("SELECT _dlt_load_id FROM batches ORDER BY batch_id")
    target.publish()
    # What is there already is not written again.
    assert target.sql("SELECT _dlt_load_id FROM batches ORDER BY batch_id") == rows


def test_erased_before_the_backfill(api: SimulatedEnrow, target: Target) -> None:
    """Neither the lake nor the destination gets the person, and nobody asks for the batch."""
    for batch_id in ("first", "second"):
        api.respond(batch_id, batch(batch_id, NUMBER, OTHER))
    target.run("first")
    target.erase(SubjectKind.NUMBER, NUMBER)
    target.erase(SubjectKind.BATCH, "third")
    target.load_lake("first", "second", "third")
    target.publish()
    assert lake_numbers() == {OTHER}
    assert api.fetches("third") == 0
    assert target.people() == [("first", OTHER), ("second", OTHER)]
    assert target.loaded() == [("first", 1), ("second", 1)]


def test_erased_after_the_lake_was_loaded(api: SimulatedEnrow, target: Target) -> None:
    """Publishing asks the destination once more, and leaves the person and the batch out."""
    for batch_id in ("first", "second", "third"):
        api.respond(batch_id, batch(batch_id, NUMBER, OTHER))
    api.respond("alone", batch("alone", NUMBER))
    target.load_lake("first", "second", "third", "alone")
    target.publish()
    target.erase(SubjectKind.NUMBER, NUMBER)
    target.erase(SubjectKind.BATCH, "third")
    target.sql("DROP TABLE phone_results")
    target.publish()
    assert NUMBER in lake_numbers()
    assert target.people() == [("first", OTHER), ("second", OTHER)]
    assert target.loaded() == [("alone", 0), ("first", 1), ("second", 1)]
    for table in ("batches", "batch_stats"):
        assert target.sql(f"SELECT batch_id FROM {table} ORDER BY 1") == [("alone",), ("first",), ("second",)]


@in_postgres
def test_hashed_before_the_erasure(api: SimulatedEnrow, target: Target, environ: dict[str, str]) -> None:
    """Hashes of whatever was submitted do not tell a person whose normalised value is known: nothing is published."""
    api.respond("first", batch("first", "+1 415-555-0123", OTHER))
    environ["SOURCES__ENROW__PII"] = "hash"
    target.load_lake("first")
    target.publish()
    target.erase(SubjectKind.NUMBER, NUMBER)
    target.sql("DROP TABLE phone_results")
    ended = target.start("publish")
    assert ended.returncode == 1
    assert "people were erased after this lake was loaded" in ended.stderr
    assert "name another --lake, and delete this one" in ended.stderr
    assert target.sql("SELECT count(*) FROM batches") == [(1,)]


@in_postgres
def test_published_while_nobody_loads(api: SimulatedEnrow, target: Target, postgres: Postgres) -> None:
    """A run or an erasure that is at work is waited for: what it has changed decides what is published."""
    target.load_lake(api.add_completed("done", 2))
    waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor() as pool:
        with load_lock(build_pipeline(target.destination, target.dataset, pipelines_dir="holding")):
            publishing = pool.submit(target.publish)
            while not postgres.query(waiting):
                assert not publishing.done()
            assert target.people() == []
        publishing.result()
    assert len(target.people()) == 2


def test_what_is_newer_at_the_destination_stays(api: SimulatedEnrow, target: Target) -> None:
    """The lake has a batch as it was before a scheduled run saw its end; who saw it first is kept too."""
    api.respond("slow", bodies.ongoing("slow", 2, 1))
    target.load_lake("slow")
    api.respond("slow", batch("slow", NUMBER, OTHER))
    target.run("slow")
    scheduled = target.sql("SELECT status, fetched_at FROM batches")
    target.publish()
    assert target.sql("SELECT status, fetched_at FROM batches") == scheduled
    assert scheduled[0][0] == "completed"
    assert target.people() == [("slow", NUMBER), ("slow", OTHER)]


def test_what_is_older_at_the_destination_goes(api: SimulatedEnrow, target: Target) -> None:
    """A merge replaces rows by rows: those of a batch that now has none are deleted too."""
    api.respond("gone", batch("gone", NUMBER))
    api.respond("slow", bodies.ongoing("slow", 2, 1))
    target.run("gone", "slow")
    seen = target.sql("SELECT batch_id, first_seen_at FROM batches ORDER BY 1")
    api.respond("gone", bodies.failed("gone", None, "empty"))
    api.respond("slow", batch("slow", OTHER))
    target.load_lake("gone", "slow")
    target.publish()
    assert target.people() == [("slow", OTHER)]
    assert target.loaded() == [("gone", 0), ("slow", 1)]
    assert target.sql("SELECT batch_id, first_seen_at FROM batches ORDER BY 1") == seen
    assert target.sql("SELECT status FROM batches ORDER BY batch_id") == [("failed",), ("completed",)]
