"""An erasure while a run is at work: the run has read who was erased, and loads afterwards."""

import subprocess
from typing import Any

import pytest
from dlt.common.runtime.collector_base import Collector
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import enrow_source
from enrow_source.destination.suppressions import ERASURES
from enrow_source.runner.report import ExitCode
from enrow_source.runner.run import run
from tests.destination.erase.store import (
    NOT_FOUND,
    OTHER,
    URL,
    Store,
    environment,
    in_both,
    in_duckdb,
    in_postgres,
    load,
)
from tests.support.command import Command, enrow
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)

pytestmark = pytest.mark.usefixtures("settings")


@in_both
@pytest.mark.parametrize("batch_ids", [["second"], ["first", "second"]], ids=["appended", "merged"])
def test_run_that_has_fetched_before(store: Store, command: Command, batch_ids: list[str]) -> None:
    """It loads nothing and says why; the next one fetches again, without the person."""
    load(store, "first")
    other = store.pipeline("other")
    other.sync_destination()
    other.extract(enrow_source(batch_ids, refetch=True))
    assert command("--linkedin-url", URL, "--execute").returncode == ExitCode.OK
    other.normalize()
    with pytest.raises(PipelineStepFailed, match="somebody was erased"):
        other.load()
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND)]
    load(store, "second", container="third")
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("second", *OTHER)]


@in_both
def test_package_of_a_killed_run(store: Store, command: Command) -> None:
    """Whoever finishes it finds that somebody was erased since, and gives it up."""
    load(store, "first")
    left = store.pipeline("other")
    left.sync_destination()
    left.extract(enrow_source(["second"]))
    assert command("--linkedin-url", URL, "--execute").returncode == ExitCode.OK
    # By a clock that is behind that of the run.
    store.sql(f"UPDATE {ERASURES} SET erased_at = '2020-01-01T00:00:00Z'")
    run(["second"], pipeline=store.pipeline("other"))
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("second", *OTHER)]


@in_duckdb
def test_erasure_that_is_taken_back(store: Store, command: Command) -> None:
    """Its record is deleted, its load is still known: later runs load as ever."""
    load(store, "first")
    assert command("--batch-id", "first", "--execute").returncode == ExitCode.OK
    store.sql(f"DELETE FROM {ERASURES}")
    load(store, "second", container="other")
    load(store, "first", container="third")
    assert store.loaded() == [("first", 3), ("second", 2)]


@in_duckdb
def test_tables_that_are_gone_after_an_erasure(store: Store, command: Command) -> None:
    """Somebody drops them by hand: what was erased stays so, and the rest is loaded again."""
    load(store, "first")
    assert command("--linkedin-url", URL, "--execute").returncode == ExitCode.OK
    for table in ("batches", "batch_stats", "phone_results", "phone_results_ledger"):
        store.sql(f"DROP TABLE {table}")
    load(store, "first", "second", container="other")
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("second", *OTHER)]


class Erase(Collector):
    """A progress collector that starts an erasure when the load begins, and sees that it waits."""

    def __init__(self, server: Postgres, store: Store) -> None:
        self._server, self._store = server, store
        self.erasing: subprocess.Popen[bytes] | None = None

    def update(self, name: str, *_: Any, **__: Any) -> None:
        if name == "Jobs" and self.erasing is None:
            self.erasing = subprocess.Popen(
                enrow("erase", *self._store.arguments, "--linkedin-url", URL, "--execute"),
                cwd=self._store.folder,
                env=environment(self._store.folder),
            )
            waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not self._server.query(waiting):
                assert self.erasing.poll() is None

    def _start(self, step: str) -> None: ...

    def _stop(self) -> None: ...


@in_postgres
@pytest.mark.slow
def test_load_that_has_begun(store: Store, postgres: Postgres) -> None:
    """The erasure waits for its end, and finds what it has loaded."""
    load(store, "first")
    pipeline = store.pipeline("other")
    pipeline.collector = erase = Erase(postgres, store)
    pipeline.run(enrow_source(["second"]))
    assert erase.erasing is not None
    assert erase.erasing.wait(60) == ExitCode.OK
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("second", *OTHER)]
