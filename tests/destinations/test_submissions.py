"""Submitting, as every destination with tables does it, and as files refuse it."""

import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from enrow_source import ConfigurationError, SubmissionReport, run, submit
from enrow_source.cli.submissions import _table
from enrow_source.submissions.lease import Lease
from enrow_source.submissions.plan import LeftOut
from enrow_source.submissions.protocol import EndReason
from enrow_source.submissions.resolve import list_submissions, resolve_submission
from enrow_source.submissions.store import Store, Submitted
from enrow_source.testing import SimulatedEnrow, people_accepted_twice
from tests.destinations.dataset import LakeDataset, TargetDataset


@pytest.fixture
def api() -> Iterator[SimulatedEnrow]:
    with SimulatedEnrow() as simulated:
        yield simulated


class Loop:
    """People, a destination, and the API between them."""

    def __init__(self, warehouse: TargetDataset, api: SimulatedEnrow) -> None:
        self.warehouse = warehouse
        self.api = api
        self._options: dict[str, Any] = {"enrow_api_key": api.api_key, "enrow_base_url": api.url}

    def submit(self, *numbers: int, **options: Any) -> SubmissionReport:
        """Submit the people of these numbers, each run in a container of its own."""
        people = [
            {"linkedin_url": f"https://www.linkedin.com/in/person-{n}", "custom": f"lead-{n}, 100 %s"} for n in numbers
        ]
        pipeline = self.warehouse.pipeline("submitting", "enrow_submissions")
        return submit(people, pipeline=pipeline, **({"max_credits": 1_000} | self._options | options))

    def load(self, *batch_ids: str) -> None:
        run(batch_ids, pipeline=self.warehouse.pipeline("loading"), **self._options)

    def submissions(self) -> list[Submitted]:
        return list_submissions(self.warehouse.pipeline("listing"))

    def states(self) -> list[tuple[str, str | None, int]]:
        return [(one.state, one.batch_id, one.searches) for one in self.submissions()]


@pytest.mark.slow
def test_submit(warehouse: TargetDataset, api: SimulatedEnrow) -> None:
    """The whole loop in one dataset; files are refused, and nothing is sent."""
    loop = Loop(warehouse, api)
    if isinstance(warehouse, LakeDataset):
        with pytest.raises(ConfigurationError, match="people cannot be submitted with filesystem: at most once needs"):
            loop.submit(1)
        assert not api.requests
        return
    people_become_numbers(loop)
    two_submitters(loop)
    a_dead_run(loop)
    resolved_by_hand(loop)
    assert not people_accepted_twice(api.accepted)


def people_become_numbers(loop: Loop) -> None:
    """Two batches are accepted and recorded, loaded without being named, and their people left out from then on."""
    report = loop.submit(1, 2, 3, batch_size=2, campaign="spring")
    assert (report.searches_accepted, report.credits_held, report.exit_code) == (3, 120, 0)
    first, second = loop.api.accepted
    assert loop.states() == [("accepted", first.batch_id, 2), ("accepted", second.batch_id, 1)]
    shown = _table(loop.submissions(), datetime.now(UTC))
    assert first.batch_id in shown
    assert loop.submit(1, 2).left_out == {LeftOut.IN_SUBMISSION: 2}
    loop.api.finish()
    loop.load()
    results = loop.warehouse.rows("phone_results")
    found = sum(row["qualification"] == "found" for row in results)
    assert {row["custom"] for row in results} == {f'"lead-{n}, 100 %s"' for n in (1, 2, 3)}
    left_out = loop.submit(1, 2, 3).left_out
    assert (left_out.get(LeftOut.FOUND, 0), left_out.get(LeftOut.NOT_FOUND, 0)) == (found, 3 - found)


def two_submitters(loop: Loop) -> None:
    """Who comes second waits and sends nothing; who has lost the lease notices; an expired one is free."""
    with (
        Store(loop.warehouse.pipeline("first")) as store,
        Store(loop.warehouse.pipeline("second")) as other,
    ):
        first, second = Lease(store, wait_s=0), Lease(other, wait_s=0)
        assert (first.take(), second.take()) == (True, False)
        connection = store.client.native_connection
        assert (first.renew(), second.renew()) == (True, False)
        # What others have committed, an open session of Snowflake may miss.
        is_snowflake = loop.warehouse.pipeline().destination.destination_name == "snowflake"
        assert (store.client.native_connection is not connection) == is_snowflake
        stop = threading.Event()
        stop.set()
        report = loop.submit(4, stop=stop)
        assert (report.end, report.exit_code, len(loop.states())) == (EndReason.BUSY, 1, 2)
        first.release()
        assert (Lease(other, lease_s=-1, wait_s=0).take(), first.take(), first.renew()) == (True, True, True)
        first.release()


def a_dead_run(loop: Loop) -> None:
    """A run that ends while the API works on its batch leaves `intended`: unknown, then what the batch says."""
    loop.api.fault_posts("accept-slowly:5")
    main = threading.main_thread()

    def end_once_accepted() -> None:
        while len(loop.api.accepted) < 3:
            time.sleep(0.01)
        signal.pthread_kill(main.ident or 0, signal.SIGINT)

    threading.Thread(target=end_once_accepted, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        loop.submit(5)
    assert loop.states()[-1] == ("intended", None, 1)
    report = loop.submit(5)
    assert (report.left_out, report.exit_code) == ({LeftOut.IN_SUBMISSION: 1}, 7)
    assert loop.states()[-1] == ("unknown", None, 1)
    loop.api.finish()
    batch_id = loop.api.accepted[-1].batch_id
    loop.load(batch_id)
    assert loop.states()[-1] == ("accepted", batch_id, 1)


def resolved_by_hand(loop: Loop) -> None:
    """What was not accepted is free again; what was is loaded by the id that a person has found."""
    loop.api.fault_posts("refuse-then-drop", "accept-then-drop")
    assert loop.submit(6).exit_code == 7
    resolve_submission(loop.warehouse.pipeline("resolving"), loop.submissions()[-1].submission_id)
    assert loop.submit(6).exit_code == 7
    batch_id = loop.api.accepted[-1].batch_id
    resolve_submission(loop.warehouse.pipeline("resolving"), loop.submissions()[-1].submission_id, batch_id=batch_id)
    assert [state for state, _, _ in loop.states()[-2:]] == ["refused", "accepted"]
    loop.api.finish()
    loop.load()
    assert batch_id in {row["batch_id"] for row in loop.warehouse.rows("phone_results")}
    assert loop.submit(6).exit_code == 0
