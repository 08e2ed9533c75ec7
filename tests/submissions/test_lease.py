"""The lease on a real Postgres: who may submit, and what happens to whoever loses it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import dlt
import pytest

from enrow_source.submissions import lease as lease_module
from enrow_source.submissions.lease import Lease
from enrow_source.submissions.protocol import EndReason
from enrow_source.submissions.store import Store
from enrow_source.testing import SimulatedEnrow, people_accepted_twice
from tests.support.postgres import Postgres

from .conftest import Place
from .rows import row

pytest_plugins = ("tests.support.postgres",)


def _store(place: Place) -> Store:
    return Store(place.pipeline("leasing"))


def test_one_at_a_time(place: Place) -> None:
    with _store(place) as store:
        store.create_tables()
        first, second = Lease(store, wait_s=0), Lease(store, wait_s=0)
        assert (first.take(), second.take()) == (True, False)
        assert (first.renew(), second.renew()) == (True, False)
        first.release()
        assert (second.take(), first.renew()) == (True, False)


def test_an_expired_lease_is_taken_over(place: Place) -> None:
    with _store(place) as store:
        store.create_tables()
        first, second = Lease(store, lease_s=-1), Lease(store, wait_s=0)
        assert (first.take(), second.take(), first.renew()) == (True, True, False)


def test_the_lease_of_a_dead_process_is_free(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once on Linux; elsewhere nobody can tell, and it expires."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with _store(place) as store:
        store.create_tables()
        with monkeypatch.context() as dead:
            dead.setattr(os, "getpid", lambda: ended.pid)
            assert Lease(store).take()
        assert Lease(store, wait_s=0).take() is Path("/proc/self").exists()


def test_two_at_the_same_time_send_nobody_twice(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are given the same people, and start on a dataset that has no tables yet."""
    monkeypatch.setattr(lease_module, "LEASE_POLL_S", 0.05)
    start = Barrier(2)

    def submit(number: int) -> EndReason:
        start.wait()
        copy = Place(place.api, place.folder / str(number), place.destination, place.dataset)
        return copy.submit([row(n) for n in range(6)], batch_size=1).end

    with ThreadPoolExecutor(2) as threads:
        ends = list(threads.map(submit, range(2)))
    assert set(ends) <= {EndReason.DONE, EndReason.LOST_LEASE}
    assert not people_accepted_twice(place.api.accepted)
    assert sum(len(batch.searches) for batch in place.api.accepted) == 6


def test_whoever_has_lost_the_lease_cancels(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken over between intent and check, as from somebody who slept: nothing is sent."""
    renew = Lease.renew

    def overtaken(self: Lease) -> bool:
        with _store(place) as other:
            other.client.execute_sql(f"UPDATE {other.table('submission_lease')} SET holder = 'somebody'")
        return renew(self)

    monkeypatch.setattr(Lease, "renew", overtaken)
    report = place.submit([row(1)])
    assert (report.end, report.exit_code, place.states()) == (EndReason.LOST_LEASE, 1, ["cancelled"])
    assert not place.api.accepted


def test_a_lost_connection_cancels(
    api: SimulatedEnrow, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between intent and POST: what was surely not sent is cancelled, and is not left for a person to resolve."""
    place = Place(api, tmp_path, dlt.destinations.postgres(postgres.url), "submit_lost")
    renew = Lease.renew

    def disconnected(self: Lease) -> bool:
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        postgres.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        return renew(self)

    with monkeypatch.context() as at_the_check:
        at_the_check.setattr(Lease, "renew", disconnected)
        report = place.submit([row(1)])
    assert (report.end, report.exit_code, place.states()) == (EndReason.LOST_LEASE, 1, ["cancelled"])
    assert not api.accepted
    assert place.submit([row(1)]).searches_accepted == 1
