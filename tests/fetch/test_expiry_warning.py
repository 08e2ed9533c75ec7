"""A batch that is pending for long may expire: the log says so before, with what is at stake."""

import pytest

from enrow_source.testing import SimulatedEnrow
from tests.conftest import NewSource
from tests.support.warehouse import Warehouse


def ask_twice(warehouse: Warehouse, new_source: NewSource, ids: list[str], days: int) -> None:
    """Fetch the batches, let days pass, and fetch them again."""
    warehouse.run(new_source(ids))
    warehouse.sql(f"UPDATE batches SET first_seen_at = first_seen_at - INTERVAL {days} DAY RETURNING 1")
    warehouse.run(new_source())


def test_the_log_warns_with_the_credits(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [api.add_ongoing("old", 9, 25), api.add_completed("done", 1)]
    ask_twice(warehouse, new_source, ids, days=2)
    assert "1 batches have been pending for more than 24 hours, the oldest first: 'old'" in caplog.text
    assert "up to 1,000 credits for 25 searches" in caplog.text


@pytest.mark.slow
def test_young_and_ended_batches_are_no_warning(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    ask_twice(warehouse, new_source, [api.add_ongoing("young", 9, 25)], days=0)
    ask_twice(warehouse, new_source, [api.add_ongoing("ends", 1, 25)], days=2)
    assert "'ends'" not in caplog.text


@pytest.mark.slow
def test_it_can_be_turned_off(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.run(new_source([api.add_ongoing("old", 9, 25)]))
    warehouse.sql("UPDATE batches SET first_seen_at = first_seen_at - INTERVAL 2 DAY RETURNING 1")
    warehouse.run(new_source(warn_after_h=None))
    assert caplog.text == ""
