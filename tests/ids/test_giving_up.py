"""The end of deferred ids: one that the API never knows is given up, told once, and kept visible."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from enrow_source import run
from enrow_source.destination.ledger import LedgerEntry
from enrow_source.plan import GiveUp, Plan
from enrow_source.runner.report import ExitCode, RunReport
from enrow_source.testing import Response, SimulatedEnrow
from tests.support.warehouse import Warehouse


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Collect what is logged by way of dlt."""
    log = logging.getLogger("dlt")
    log.addHandler(caplog.handler)
    yield caplog
    log.removeHandler(caplog.handler)


@pytest.fixture
def load(api: SimulatedEnrow, warehouse: Warehouse) -> Any:
    def load(*ids: str, **more: Any) -> RunReport:
        options: dict[str, Any] = {"give_up_fetches": 3, "give_up_days": 1e-6, "batch_ids_file": ["ids.txt"]} | more
        pipeline = warehouse.pipeline()
        return run(ids, pipeline=pipeline, enrow_api_key=api.api_key, enrow_base_url=api.url, **options)

    return load


def deferred(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.sql("SELECT batch_id, unknown_answers, given_up_at IS NULL FROM deferred_batch_ids ORDER BY 1")


def test_an_unknown_id_is_given_up(
    tmp_path: Path, api: SimulatedEnrow, warehouse: Warehouse, load: Any, logged: pytest.LogCaptureFixture
) -> None:
    """After some fetches: told once, then asked for no more, unless the caller names it."""
    (tmp_path / "ids.txt").write_text("gone\nfine\n")
    api.add_completed("fine", 1)
    reports = [load() for _ in range(5)]
    assert [api.looks(batch_id) for batch_id in ("fine", "gone")] == [1, 3]
    assert [report.given_up for report in reports] == [0, 0, 1, 0, 0]
    assert [report.exit_code for report in reports] == [ExitCode.PARTIAL] * 3 + [ExitCode.OK] * 2
    assert logged.text.count("1 deferred ids are given up") == 1
    assert deferred(warehouse) == [("gone", 3, False)]
    assert load("gone").exit_code == ExitCode.PARTIAL
    assert load().given_up == 0
    assert api.looks("gone") == 4
    assert deferred(warehouse) == [("gone", 4, False)]
    api.add_ongoing("gone", 2)
    load("gone")
    assert deferred(warehouse) == [("gone", 0, True)]
    assert load().ongoing == 1


def test_an_id_that_fails_otherwise_is_not_given_up(
    tmp_path: Path, api: SimulatedEnrow, warehouse: Warehouse, load: Any
) -> None:
    """A server that is down says nothing of an id."""
    (tmp_path / "ids.txt").write_text("down\n")
    api.respond("down", Response(status=500))
    for _ in range(4):
        load(give_up_fetches=1)
    assert deferred(warehouse) == [("down", 0, True)]


def test_both_limits_count() -> None:
    """Many fetches in one day are no end, and neither are many days with few fetches."""
    now = datetime.now(UTC)

    def given_up(days: float, answers: int) -> bool:
        seen = now - timedelta(days=days)
        plan = Plan(
            ["x"], ["x"], {"x": LedgerEntry(None, is_pending=True, first_seen=seen, unknown_answers=answers - 1)}
        )
        found = plan.deferred({"x"}, set(), {"x"}, now, GiveUp(10, 7.0))
        assert [(one.unknown_answers, one.deferred_at) for one in found] == [(answers, seen)]
        return plan.given_up(found) == ["x"]

    assert [given_up(8, 10), given_up(6, 10), given_up(8, 9)] == [True, False, False]
