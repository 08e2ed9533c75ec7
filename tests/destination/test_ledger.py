"""The ledger: which batches are due, from what the destination holds; and that it reads it right, in whole runs."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from enrow_source import build_pipeline, run
from enrow_source.destination import ledger
from enrow_source.destination.ledger import LedgerEntry, LedgerSnapshot
from enrow_source.destination.ledger_rows import Row
from enrow_source.destination.statement import LedgerStatement
from enrow_source.ids.shard import Shard
from enrow_source.plan import plan_batches
from enrow_source.tables.schema import LEDGER_TABLES
from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.conftest import NewSource
from tests.support.warehouse import Warehouse


def at(hour: int) -> datetime:
    return datetime(2026, 3, 1, hour, tzinfo=UTC)


Known = tuple[str, LedgerEntry | None]


def loaded(batch_id: str) -> Known:
    return batch_id, None


def pending(batch_id: str, hour: int) -> Known:
    return batch_id, LedgerEntry(at(hour), is_pending=True)


def failing(batch_id: str, hour: int) -> Known:
    """Make the entry of a batch that is in `batch_errors`, or lacks a table, and is due only when it is named."""
    return batch_id, LedgerEntry(at(hour), is_pending=False)


def due_batches(ids: list[str], entries: Iterable[Known]) -> list[str]:
    known = dict(entries)
    missing = [batch_id for batch_id in ids if not (batch_id in known and known[batch_id] is None)]
    snapshot = LedgerSnapshot(missing, {i: entry for i, entry in known.items() if entry is not None})
    return list(plan_batches(snapshot, (), Shard()).due)


@pytest.mark.parametrize(
    "candidates,entries,due",
    [
        ([], [], []),
        (["b", "a"], [], ["b", "a"]),
        (["b", "a"], [loaded("b")], ["a"]),
        (["a"], [loaded("a"), loaded("b")], []),
        (["a"], [pending("a", 1)], ["a"]),
        ([], [pending("a", 1)], ["a"]),
        ([], [failing("a", 1)], []),
        (["a"], [failing("a", 1)], ["a"]),
        (["a", "b"], [pending("c", 1), failing("d", 2)], ["a", "b", "c"]),
        (["a", "new", "b"], [failing("a", 2), pending("b", 1)], ["new", "b", "a"]),
        (["z"], [pending("c", 3), pending("a", 1), pending("b", 2)], ["z", "a", "b", "c"]),
        (["b", "a"], [failing("b", 1), failing("a", 1)], ["a", "b"]),
        (["a"], [loaded("a")], []),
        (["new"], [pending("c", 1), ("left", LedgerEntry(None, is_pending=True))], ["left", "new", "c"]),
    ],
    ids=[
        "nothing",
        "never seen",
        "loaded is not due",
        "all loaded",
        "pending and given",
        "pending and not given",
        "failing and not given",
        "failing and given",
        "new before pending",
        "seen longest ago first",
        "pending in order of their fetch",
        "same time, by id",
        "loaded beats pending",
        "left by an earlier run before new",
    ],
)
def test_due(candidates: list[str], entries: list[Known], due: list[str]) -> None:
    assert due_batches(candidates, entries) == due


def test_the_order_of_the_ledger_does_not_matter() -> None:
    entries = [loaded("a"), pending("b", 2), failing("c", 1), pending("d", 3)]
    orders = [due_batches(["c", "x", "a", "y"], order) for order in permutations(entries)]
    assert orders == [["x", "y", "c", "b", "d"]] * 24


def test_failing_and_stuck_batches_starve_nobody() -> None:
    """Play many runs of two batches each: every id gets its fetch, and the new ones get theirs first."""
    candidates = ["fails", "stuck", "new-1", "new-2", "new-3", "new-4"]
    entries: dict[str, Known] = {}
    runs = []
    for hour in range(6):
        run = due_batches(candidates, entries.values())[:2]
        for batch_id in run:
            make = {"fails": failing, "stuck": pending}.get(batch_id)
            entries[batch_id] = make(batch_id, hour) if make else loaded(batch_id)
        runs.append(run)
    assert runs == [
        ["fails", "stuck"],
        ["new-1", "new-2"],
        ["new-3", "new-4"],
        ["fails", "stuck"],
        ["fails", "stuck"],
        ["fails", "stuck"],
    ]


def test_outside_a_pipeline_the_ledger_is_empty(api: SimulatedEnrow, new_source: NewSource) -> None:
    assert len(list(new_source([api.add_completed("done", 1)]).batches)) == 1


@pytest.mark.parametrize(
    "narrow", [pytest.param(1, id="more than are named"), pytest.param(500, id="all named", marks=pytest.mark.slow)]
)
def test_the_ledger_is_right_for_any_count(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, narrow: int
) -> None:
    """The ledger is right however many ids are given."""
    monkeypatch.setattr(ledger, "LEDGER_NARROW_IDS", narrow)
    ids = [api.add_completed("done", 1), api.add_ongoing("stuck", None), "unknown"]
    warehouse.run(new_source([*ids, api.add_ongoing("dropped", None)]))
    warehouse.run(new_source([*ids, api.add_completed("new", 1)]))
    assert [api.fetches(batch_id) for batch_id in (*ids, "dropped", "new")] == [1, 2, 2, 2, 1]


def test_a_batch_that_a_table_lacks_is_fetched(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more ids are given than are named, a loaded batch is searched for in each table."""
    monkeypatch.setattr(ledger, "LEDGER_NARROW_IDS", 1)
    monkeypatch.setattr(ledger, "DELETE_IDS", 1)
    ids = [api.add_completed("whole", 2), api.add_completed("half", 2), api.add_completed("lost", 2)]
    warehouse.run(new_source(ids))
    for table, batch_id in (("batch_stats", "half"), ("batches", "lost")):
        warehouse.sql(f"DELETE FROM enrow_data.{table} WHERE batch_id = '{batch_id}'")
    warehouse.run(new_source(ids))
    warehouse.run(new_source(ids))
    assert [api.fetches(batch_id) for batch_id in ids] == [1, 2, 2]
    assert len(warehouse.rows("phone_results")) == 6


@pytest.mark.parametrize("is_reversed", [False, True])
def test_refetch_in_any_order_of_rows(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, is_reversed: bool
) -> None:
    """SQL gives no order: read after the row of a loaded batch, its failed fetch hid that it had results."""
    monkeypatch.setattr(ledger, "LEDGER_NARROW_IDS", 1)
    rows = LedgerStatement.rows

    def in_order(*arguments: Any) -> list[Row | str]:
        found = list(rows(*arguments))
        return found[::-1] if is_reversed else found

    monkeypatch.setattr(LedgerStatement, "rows", in_order)
    full, empty = (bodies.completed("failed-once", count) for count in (2, 0))
    ids = [api.respond("failed-once", Response.unreadable(), full, empty), api.add_completed("other", 2)]
    warehouse.run(new_source(ids))
    warehouse.run(new_source(ids))
    warehouse.run(new_source(ids, refetch=True))
    assert {row["batch_id"] for row in warehouse.rows("phone_results")} == {"other"}


@pytest.mark.slow
def test_a_million_known_batches_fit_in_memory(
    api: SimulatedEnrow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement grouped the rows of all batches, for which DuckDB had too little memory."""
    monkeypatch.chdir(tmp_path)
    api.add_completed("0", 1)
    pipeline = build_pipeline()
    options: dict[str, Any] = {"enrow_api_key": api.api_key, "enrow_base_url": api.url}
    run(["0"], pipeline=pipeline, **options)
    with pipeline.sql_client() as client:
        for table in LEDGER_TABLES.values():
            client.execute_sql(
                f"INSERT INTO {table} SELECT known.* REPLACE (lpad(known_id.n::text, 36, '0') AS batch_id)"
                f" FROM {table} known, range(1, 1000001) known_id(n)"
            )
    report = run([f"{n:036}" for n in range(1, 1_000_001)], pipeline=pipeline, **options)
    assert (report.exit_code, report.fetched) == (0, 0)


def test_ids_are_data_for_the_ledger_never_sql(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    ids = ["%s", "?", "$1", "%(id)s", "(a)--", "ü😀", "a&b=c", "/*a*/"]
    for batch_id in ids:
        api.add_completed(batch_id, 1)
    warehouse.run(new_source(ids[:-1]))
    warehouse.run(new_source([*ids, "%"]))
    assert [api.fetches(batch_id) for batch_id in ids] == [1] * len(ids)
    assert {row["batch_id"] for row in warehouse.rows("batches")} == set(ids)


def test_the_order_holds_in_runs_with_a_limit(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    api.respond("fails", Response.unreadable())
    ids = ["fails", api.add_ongoing("stuck", None), api.add_completed("new-1", 1), api.add_completed("new-2", 1)]
    for _ in range(3):
        warehouse.run(new_source(ids, max_batches=2))
    assert [{request.batch_id for request in api.requests[n : n + 2]} for n in (0, 2, 4)] == [
        {"fails", "stuck"},
        {"new-1", "new-2"},
        {"fails", "stuck"},
    ]
