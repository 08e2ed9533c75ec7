"""A batch leaves a real warehouse, and no later run fetches it."""

from pathlib import Path

import pytest

from enrow_source.cli import run as run_command
from enrow_source.runner.report import ExitCode
from enrow_source.tables.schema import TABLES
from enrow_source.testing import SimulatedEnrow
from tests.destination.erase.store import OTHER, Store, batch, in_duckdb, load
from tests.support.command import Command

pytest_plugins = ("tests.support.postgres",)

pytestmark = pytest.mark.usefixtures("settings")


def test_batch_leaves_every_table(
    store: Store,
    command: Command,
    api: SimulatedEnrow,
    monkeypatch: pytest.MonkeyPatch,
    logged: pytest.LogCaptureFixture,
) -> None:
    """An erased batch leaves every table and is not fetched again, which the log says to whoever names it."""
    monkeypatch.delenv("SOURCES__ENROW__PII_SECRET")  # an id is no personal data
    load(store, "second")  # unknown to the API at first
    api.respond("third", {"general": {"id": "third", "status": "completed"}, "results": {}})
    load(store, "first", "third")
    api.respond("third", batch("third", OTHER))
    load(store, "third")
    ended = command("--batch-id", "third", "--execute")
    assert ended.returncode == ExitCode.OK
    assert ended.stdout.splitlines()[:5] == [
        "rows erased              1  batches",
        "rows erased              1  batch_stats",
        "rows erased              1  phone_results",
        "rows erased              1  phone_results_ledger",
        "rows erased              1  batch_errors",
    ]
    assert store.recorded() == [("batch", None, "third", 1, 1, 1, 1, 1, 0, 0)]
    fetches = api.fetches("third")
    for container in ("first", "fresh"):
        load(store, "first", "second", "third", container=container)
    load(store, "third", container="fresh", refresh="drop_sources")
    load(store, "third", "second", container="fresh", max_batches=1)
    assert api.fetches("third") == fetches
    assert "1 batches were erased, and are never fetched again: 'third'" in logged.text
    assert [row for row in store.people() if row[0] == "third"] == []
    for table in TABLES:
        assert store.sql(f"SELECT batch_id FROM {table.name} WHERE batch_id = 'third'") == []
    # It does not take the place of another one either.
    assert store.sql("SELECT batch_id FROM batches") == [("second",)]


@pytest.mark.slow
@in_duckdb
def test_erased_batch_is_not_deferred(store: Store, command: Command, api: SimulatedEnrow, tmp_path: Path) -> None:
    """An erased batch is not deferred to later runs."""
    (tmp_path / "left.txt").write_text("first\nsecond")
    files = ["--batch-ids-file", str(tmp_path / "left.txt")]
    run_command.main([*files, "--max-batches", "1", *store.arguments])
    assert store.sql("SELECT batch_id FROM deferred_batch_ids") == [("second",)]
    assert "rows erased              1  deferred_batch_ids" in command("--batch-id", "second", "--execute").stdout
    assert store.sql("SELECT batch_id FROM deferred_batch_ids") == []
    run_command.main([*files, *store.arguments])
    assert api.fetches("second") == 0


@pytest.mark.slow
@in_duckdb
def test_pending_erased_batch_is_not_fetched(store: Store, command: Command, api: SimulatedEnrow) -> None:
    """An erased batch that is pending is not fetched when its id is not given either."""
    load(store, api.add_ongoing("running", None), "first")
    command("--batch-id", " running ", "--execute")
    load(store, "second")
    assert api.fetches("running") == 1
