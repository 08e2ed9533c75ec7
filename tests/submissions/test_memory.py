"""Known people are read as a stream: the memory does not grow with the table."""

from __future__ import annotations

import multiprocessing
import resource
from datetime import UTC, datetime

import pytest

from enrow_source.submissions.history import read_history
from enrow_source.submissions.store import Store
from enrow_source.tables.privacy import Privacy

from .conftest import Place
from .rows import people

pytest_plugins = ("tests.support.postgres",)
pytestmark = pytest.mark.slow

FEW, MANY = 50_000, 600_000
ALLOWED_MB = 40
"""As much as two of the pages that are held at a time; all rows would take ten times as much."""


def _peak_mb(place: Place, rows: int) -> float:
    """Read the history in a process of its own; return what it took at most beyond what it had."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def read() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with Store(place.pipeline("reading")) as store:
            history = read_history(store, {person.key: person for person in people(10)}, Privacy())
        assert len(history.attempts) == 10
        assert history.shares == {"profile_url": 0.5}
        queue.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)

    child = context.Process(target=read)
    child.start()
    child.join()
    assert child.exitcode == 0, rows
    peak: float = queue.get()
    return peak


def _fill(place: Place, rows: int) -> None:
    with Store(place.pipeline("filling")) as store:
        table = store.table("phone_results")
        numbers = f"FROM generate_series(1, {rows}) AS s(n)"
        store.client.execute_sql(f"DELETE FROM {table}")
        store.client.execute_sql(
            f"INSERT INTO {table} (batch_id, index, qualification, params__linkedin_url, fetched_at, _dlt_load_id)"
            " SELECT 'b', n, CASE WHEN mod(n, 2) = 0 THEN 'found' ELSE 'not_found' END,"
            " 'https://www.linkedin.com/in/person-' || CAST(n AS VARCHAR), %s, 'l' " + numbers,
            datetime.now(UTC),
        )


def test_memory_does_not_grow_with_the_table(place: Place) -> None:
    place.load(place.api.add_completed("one", 1))
    _fill(place, FEW)
    few = _peak_mb(place, FEW)
    _fill(place, MANY)
    assert _peak_mb(place, MANY) - few < ALLOWED_MB
