"""Warehouses that were harmed by hand: tables dropped, backups restored, `_dlt_loads` pruned. The next run repairs."""

from pathlib import Path

import pytest
from dlt.extract import DltSource

from enrow_source import batch_ids_from_files
from enrow_source.runner.report import ExitCode
from enrow_source.runner.run import run
from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.conftest import NewSource
from tests.support.store import DATASET, Store

pytest_plugins = ("tests.support.postgres", "tests.support.store")
pytestmark = pytest.mark.slow

TABLES = ("batches", "batch_stats", "phone_results", "phone_results_ledger")


def assert_whole(store: Store, **results: int) -> None:
    assert store.counts() == {batch_id: count for batch_id, count in results.items() if count}
    for table in TABLES:
        if table != "phone_results":
            assert store.counts(table) == dict.fromkeys(results, 1), table


@pytest.mark.parametrize("ids", [["a"], ["new"], []], ids=["same", "new", "none"])
@pytest.mark.parametrize("table", [*TABLES, "_dlt_loads", "_dlt_version", "_dlt_pipeline_state"])
def test_dropped_table_is_made_again(
    api: SimulatedEnrow, new_source: NewSource, store: Store, table: str, ids: list[str]
) -> None:
    for batch_id, count in {"a": 2, "b": 3, "empty": 0, "new": 1}.items():
        api.add_completed(batch_id, count)
    store.run(new_source(["a", "b", "empty"]))
    store.sql(f"DROP TABLE {DATASET}.{table}")
    expected = {"a": 2, "b": 3, "empty": 0} | ({"new": 1} if ids == ["new"] else {})
    for container in ("first", "fresh"):
        store.run(new_source(ids), container)
        assert_whole(store, **expected)
    most = 1 if table in ("_dlt_loads", "_dlt_version", "_dlt_pipeline_state") else 2
    assert max(api.fetches(batch_id) for batch_id in expected) <= most


@pytest.mark.parametrize("prune", ["oldest", "all"])
@pytest.mark.parametrize("container", ["first", "fresh"])
def test_pruned_loads_fetch_nothing_again(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, store: Store, prune: str, container: str
) -> None:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
    ids = [api.add_completed(f"old-{number}", 2) for number in range(5)]
    run(ids, pipeline=store.pipeline())
    run([api.add_completed("recent", 1)], pipeline=store.pipeline())
    where = "" if prune == "all" else f" WHERE load_id < (SELECT MAX(load_id) FROM {DATASET}._dlt_loads)"
    store.sql(f"DELETE FROM {DATASET}._dlt_loads{where}")
    for batch_id in ids:
        api.respond(batch_id, bodies.completed(batch_id, 0))
    fetches = {batch_id: api.fetches(batch_id) for batch_id in (*ids, "recent")}
    for _ in range(2):
        report = run([*ids, "recent"], pipeline=store.pipeline(container))
        assert (report.fetched, int(report.exit_code)) == (0, 0)
        assert store.counts() == dict.fromkeys(ids, 2) | {"recent": 1}
    assert {batch_id: api.fetches(batch_id) for batch_id in fetches} == fetches


def test_what_a_killed_first_load_left_is_not_old(api: SimulatedEnrow, new_source: NewSource, store: Store) -> None:
    """The first load is older than all that `_dlt_loads` has later; what it left is fetched all the same."""
    for batch_id in ("a", "b", "c"):
        api.add_completed(batch_id, 2)
    store.run(new_source(["a", "b"]))
    store.sql(f"DELETE FROM {DATASET}._dlt_loads")
    store.sql(f"DELETE FROM {DATASET}.phone_results WHERE batch_id = 'a'")
    api.respond("a", Response(status=404))
    for _ in range(2):
        store.run(new_source(["c"]), "fresh")
    api.add_completed("a", 2)
    store.run(new_source(), "fresh")
    assert_whole(store, a=2, b=2, c=2)


def written(folder: Path, name: str, *ids: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(ids))


@pytest.mark.parametrize("harm", ["restore", "restore-results", *TABLES, "empty", "reset"])
def test_ids_are_read_again_after_a_loss(
    tmp_path: Path, api: SimulatedEnrow, new_source: NewSource, store: Store, harm: str
) -> None:
    """The cursor is past the file; the destination has lost what was loaded for it."""
    folder = tmp_path / "ids"
    for batch_id in ("one", "two", "new"):
        api.add_completed(batch_id, 2)

    def load() -> DltSource:
        return new_source(batch_ids_from_files(str(folder), lag_s=0))

    written(folder, "1.txt", "one")
    store.run(load())
    saved = [*TABLES, "_dlt_loads", "_dlt_version", "_dlt_pipeline_state"]
    saved = {"restore": saved, "restore-results": list(TABLES[2:])}.get(harm, [])
    for table in saved:
        store.sql(f"CREATE TABLE {DATASET}.saved_{table} AS SELECT * FROM {DATASET}.{table}")
    written(folder, "2.txt", "two")
    store.run(load())
    assert_whole(store, one=2, two=2)
    for table in saved:
        store.sql(f"DELETE FROM {DATASET}.{table}")
        store.sql(f"INSERT INTO {DATASET}.{table} SELECT * FROM {DATASET}.saved_{table}")
        store.sql(f"DROP TABLE {DATASET}.saved_{table}")
    if harm in TABLES:
        store.sql(f"DROP TABLE {DATASET}.{harm}")
        # Somebody else's run makes it again before the cursor is asked.
        store.run(new_source(["new"]), "other")
    if harm == "empty":
        store.sql(f"DELETE FROM {DATASET}.batches")
    if harm == "reset":
        store.run(new_source([]).with_resources("batches"), refresh="drop_resources")
    store.run(load())
    expected = {"one": 2, "two": 2} | ({"new": 2} if harm in TABLES else {})
    assert_whole(store, **expected)
    fetched = len(api.requests)
    store.run(load())
    assert len(api.requests) == fetched


def test_refresh_keeps_when_a_batch_was_seen(api: SimulatedEnrow, new_source: NewSource, store: Store) -> None:
    api.add_completed("a", 1)
    store.run(new_source(["a"]))
    (seen,) = store.sql(f"SELECT first_seen_at FROM {DATASET}.batches")
    for refresh in ("drop_sources", "drop_resources", "drop_data"):
        store.run(new_source(["a"]), refresh=refresh)
        assert store.sql(f"SELECT first_seen_at FROM {DATASET}.batches") == [seen]
    store.run(new_source(["a"]), write_disposition="replace")
    assert store.sql(f"SELECT first_seen_at FROM {DATASET}.batches") == [seen]
    assert api.fetches("a") == 5


def test_loaded_deferrals_are_removed(tmp_path: Path, api: SimulatedEnrow, new_source: NewSource, store: Store) -> None:
    ids = [api.add_completed(f"b{number}", 1) for number in range(5)]
    written(tmp_path / "ids", "ids.txt", *ids)
    for left in (3, 3, 1, 0, 0):
        store.run(new_source(batch_ids_from_files(str(tmp_path / "ids")), max_batches=2))
        if left == 0:
            break
    store.run(new_source([]))
    assert store.counts("deferred_batch_ids") == {}
    assert store.counts() == dict.fromkeys(ids, 1)


HARMS = {
    "dropped": "DROP TABLE {table}",
    "column dropped": "ALTER TABLE {table} DROP COLUMN {number}",
    "column renamed": "ALTER TABLE {table} RENAME COLUMN {number} TO renamed",
    "type changed": "ALTER TABLE {table} ALTER COLUMN {text} TYPE BIGINT USING 0",
    "column added": "ALTER TABLE {table} ADD COLUMN note VARCHAR",
}


@pytest.mark.parametrize("harm", HARMS)
def test_the_logs_of_runs_repair_themselves(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, store: Store, harm: str
) -> None:
    """`enrow_runs` and `account_credits` take the row of each run, whatever was done to them."""
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
    run([api.add_completed("a", 1)], pipeline=store.pipeline())
    for table, number, text in (("enrow_runs", "requests", "outcome"), ("account_credits", "credits", "command")):
        store.sql(HARMS[harm].format(table=f"{DATASET}.{table}", number=number, text=text))
    for _ in range(2):
        run(["a"], pipeline=store.pipeline(), trigger="after")
    found = store.sql(
        f"SELECT outcome, requests, error, command, CAST(credits AS BIGINT) FROM {DATASET}.enrow_runs"
        f" JOIN {DATASET}.account_credits USING (run_id) WHERE trigger = 'after'"
    )
    assert found == [("ok", 0, None, "run", api.credits)] * 2
    kept = 0 if harm in ("dropped", "type changed") else 1
    assert store.sql(f"SELECT COUNT(*) FROM {DATASET}.enrow_runs WHERE trigger = 'python'") == [(kept,)]
    assert store.sql(f"SELECT COUNT(*) FROM {DATASET}.account_credits") == [(2 + kept,)]


@pytest.mark.parametrize("tables", [(), ("phone_results",)], ids=["all", "results"])
def test_unknown_status_is_stuck_after_a_day(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, store: Store, tables: tuple[str, ...]
) -> None:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
    for status in ("Completed", "done"):
        body = bodies.completed(status, 2)
        api.respond(status, body | {"general": body["general"] | {"status": status}})
    assert run(["Completed", "done"], pipeline=store.pipeline(), tables=tables).exit_code == ExitCode.OK
    if not tables:
        assert run([], pipeline=store.pipeline()).exit_code == ExitCode.OK
        store.sql(f"UPDATE {DATASET}.batches SET first_seen_at = first_seen_at - INTERVAL '25 hours'")
    report = run([], pipeline=store.pipeline(), tables=tables)
    assert (report.other, report.stuck, report.exit_code) == (2, 2, ExitCode.STUCK)
    for status in ("Completed", "done"):
        api.respond(status, bodies.completed(status, 2))
    assert run([], pipeline=store.pipeline(), tables=tables).exit_code == ExitCode.OK
    assert store.counts() == {"Completed": 2, "done": 2}
