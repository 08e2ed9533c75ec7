"""The end of deferred ids: one that the API never knows is given up, logged once, and kept visible."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from enrow_source import run
from enrow_source.destination.ledger import LedgerEntry, LedgerSnapshot
from enrow_source.ids.shard import Shard
from enrow_source.plan import GiveUp, Plan, plan_batches
from enrow_source.runner.report import ExitCode, RunReport
from enrow_source.tables.rows import DeferredId
from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.support.warehouse import Warehouse


@pytest.fixture
def load(api: SimulatedEnrow, warehouse: Warehouse) -> Any:
    def load(*ids: str, **more: Any) -> RunReport:
        options: dict[str, Any] = {"give_up_fetches": 3, "give_up_days": 1e-6, "batch_ids_file": ["ids.txt"]} | more
        warehouse.hold()
        pipeline = warehouse.pipeline()
        return run(ids, pipeline=pipeline, enrow_api_key=api.api_key, enrow_base_url=api.url, **options)

    return load


def deferred(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.sql("SELECT batch_id, unknown_answers, given_up_at IS NULL FROM deferred_batch_ids ORDER BY 1")


def test_an_unknown_id_is_given_up(
    tmp_path: Path, api: SimulatedEnrow, warehouse: Warehouse, load: Any, logged: pytest.LogCaptureFixture
) -> None:
    """After some fetches: logged once, then fetched no more, unless the caller names it."""
    (tmp_path / "ids.txt").write_text("gone\nfine\n")
    api.add_completed("fine", 1)
    reports = [load(give_up_fetches=2) for _ in range(3)]
    assert [api.fetches(batch_id) for batch_id in ("fine", "gone")] == [1, 2]
    assert [report.given_up for report in reports] == [0, 1, 0]
    assert [report.exit_code for report in reports] == [ExitCode.PARTIAL] * 2 + [ExitCode.OK]
    assert logged.text.count("1 deferred ids are given up") == 1
    assert deferred(warehouse) == [("gone", 2, False)]
    assert load("gone").exit_code == ExitCode.PARTIAL
    assert load().given_up == 0
    assert api.fetches("gone") == 3
    assert deferred(warehouse) == [("gone", 3, False)]
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
    for _ in range(2):
        load(give_up_fetches=1)
    assert deferred(warehouse) == [("down", 0, True)]


def test_both_limits_count() -> None:
    """Many fetches in one day are no end, and neither are many days with few fetches."""
    now = datetime.now(UTC)

    def given_up(days: float, answers: int) -> bool:
        seen = now - timedelta(days=days)
        plan = Plan(
            ["x"], ["x"], {"x": LedgerEntry(None, is_pending=True, deferred_at=seen, unknown_answers=answers - 1)}
        )
        found = plan.deferred({"x"}, (), set(), {"x"}, now, GiveUp(10, 7.0))
        assert [(one.unknown_answers, one.deferred_at) for one in found] == [(answers, seen)]
        return plan.given_up(found) == ["x"]

    assert [given_up(8, 10), given_up(6, 10), given_up(8, 9)] == [True, False, False]


def kinds(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.sql("SELECT kind, http_status FROM batch_errors ORDER BY fetched_at")


@pytest.mark.slow
def test_an_ongoing_batch_that_expires_is_given_up(
    api: SimulatedEnrow, warehouse: Warehouse, load: Any, logged: pytest.LogCaptureFixture
) -> None:
    """It is an error of its own kind, logged with the credits at stake, and fetched no more after a while."""
    end = {"batch_ids_file": None, "give_up_fetches": 2}
    assert load(api.add_ongoing("lost", 9, 25), **end).ongoing == 1
    api.respond("lost", Response.unreadable())
    reports = [load(**end) for _ in range(3)]
    assert kinds(warehouse) == [("expired_or_unknown", 400)] * 2
    assert [report.exit_code for report in reports] == [ExitCode.PARTIAL] * 2 + [ExitCode.OK]
    assert [report.given_up for report in reports] == [0, 1, 0]
    assert "seen pending are unknown to the API now, or expired: 'lost'. What their credits" in logged.text
    assert "up to 1,000 credits for 25 searches. Ask Enrow" in logged.text
    assert logged.text.count("1 deferred ids are given up") == 1
    assert deferred(warehouse) == [("lost", 2, False)]
    assert warehouse.sql("SELECT status FROM batches") == [("ongoing",)]
    api.add_completed("lost", 2)
    assert load("lost", **end).completed == 1


@pytest.mark.slow
def test_days_count_from_the_first_unknown_answer(api: SimulatedEnrow, warehouse: Warehouse, load: Any) -> None:
    """A batch that was ongoing for weeks is not given up for a bad quarter of an hour of the API."""
    load(api.add_ongoing("old", 9, 25), batch_ids_file=None)
    warehouse.sql("UPDATE batches SET first_seen_at = first_seen_at - INTERVAL 30 DAY RETURNING 1")
    api.respond("old", Response.unreadable())
    end = {"batch_ids_file": None, "give_up_days": 7, "give_up_fetches": 1}
    assert [load(**end).given_up for _ in range(2)] == [0, 0]
    assert deferred(warehouse) == [("old", 2, True)]


@pytest.mark.slow
def test_an_answer_between_begins_the_count_again(api: SimulatedEnrow, warehouse: Warehouse, load: Any) -> None:
    """An API that knows the batch again has not let it expire."""
    end = {"batch_ids_file": None, "give_up_fetches": 2}
    gone = Response.unreadable()
    api.respond("back", bodies.ongoing("back", 9, 0), gone, bodies.ongoing("back", 9, 1), gone)
    reports = [load(*ids, **end) for ids in (("back",), (), (), ())]
    assert [(report.ongoing, report.given_up) for report in reports] == [(1, 0), (0, 0), (1, 0), (0, 0)]
    assert deferred(warehouse) == [("back", 1, True)]


@pytest.mark.slow
def test_words_of_another_server_say_nothing_of_an_id(api: SimulatedEnrow, warehouse: Warehouse, load: Any) -> None:
    """A 404 of a proxy ends no asking."""
    load(api.add_ongoing("fine", 9, 25), batch_ids_file=None)
    api.respond("fine", Response(404, b"<html>no such page</html>"))
    assert [load(batch_ids_file=None, give_up_fetches=1).given_up for _ in range(2)] == [0, 0]
    assert kinds(warehouse) == [("not_readable", 404)] * 2


def test_the_oldest_unseen_id_goes_first() -> None:
    """Where a run is bounded, what may expire first is fetched first."""
    now = datetime.now(UTC)
    entries = {
        name: LedgerEntry(None, is_pending=True, first_seen=now - timedelta(days=days), unknown_answers=0)
        for name, days in (("young", 1), ("oldest", 9), ("old", 3))
    }
    plan = plan_batches(LedgerSnapshot(("new",), entries), (), Shard(), 3)
    assert plan.fetch == ["oldest", "old", "young"]


def test_a_submitted_batch_that_never_came_is_counted() -> None:
    """Who submits names no id, and each run asks for it: from its first unknown answer on it is a deferred id."""
    now = datetime.now(UTC)
    plan = Plan(["sent"], ["sent"], {})
    assert plan.deferred((), {"sent"}, set(), {"sent"}, now, GiveUp(10, 7.0)) == [DeferredId("sent", now, 1)]
    assert plan.deferred((), {"sent"}, {"sent"}, set(), now, GiveUp(10, 7.0)) == []
    assert plan.deferred((), (), set(), {"sent"}, now, GiveUp(10, 7.0)) == []
