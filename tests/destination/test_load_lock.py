"""One load at a time: the lock on the dataset holds from before the first statement of a load to its end."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.runtime.collector_base import Collector
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source.destination import lease
from enrow_source.destination.lease import RowLease
from enrow_source.errors import LockLostError
from enrow_source.testing import SimulatedEnrow
from tests.conftest import NewSource
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)

LOCKS = "SELECT count(*) AS held FROM pg_locks WHERE locktype = 'advisory' AND granted"


class Probe(Collector):
    """A progress collector that asks the server, each time that it is told of a job, whether the lock is held."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.held: list[int] = []
        self.is_loading = False

    def update(self, name: str, *_: Any, **__: Any) -> None:
        if self.is_loading and name == "Jobs":
            self.held.append(self.server.query(LOCKS)[0]["held"])

    def _start(self, step: str) -> None:
        self.is_loading = step.startswith("Load")

    def _stop(self) -> None:
        pass


@pytest.mark.parametrize("is_first", [True, False], ids=["no table yet", "tables"])
def test_postgres_is_locked_until_the_load_ends(
    api: SimulatedEnrow, new_source: NewSource, postgres: Postgres, is_first: bool
) -> None:
    """Also where the statement that writes the load down fails, since there is no table yet."""
    probe = Probe(postgres)

    def load(batch_id: str, progress: Any) -> None:
        destination = dlt.destinations.postgres(postgres.url)
        dlt.pipeline("lock", destination=destination, dataset_name="locked", progress=progress).run(
            new_source([api.add_completed(batch_id, 2)])
        )

    if not is_first:
        load("a", None)
    load("b", probe)
    assert probe.held
    assert set(probe.held) == {1}
    assert postgres.query(LOCKS) == [{"held": 0}]
    for name in ("locked", "locked_staging"):
        postgres.query(f"DROP SCHEMA IF EXISTS {name} CASCADE")


class Cut(Probe):
    """Ends the connection that holds the lock."""

    def update(self, name: str, *_: Any, **__: Any) -> None:
        if self.is_loading and name == "Jobs":
            self.server.query("SELECT pg_terminate_backend(pid) AS done FROM pg_locks WHERE locktype = 'advisory'")


def test_a_lease_that_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that hung is told when it ends; who has taken the lease over is not."""
    monkeypatch.setattr(lease, "LOAD_LEASE_POLL_S", 0.1)
    pipeline = dlt.pipeline("leases", destination=dlt.destinations.duckdb(str(tmp_path / "leases.duckdb")))
    with pipeline.sql_client() as client, ExitStack() as hung:
        hung.enter_context(RowLease(client).held("busy"))
        monkeypatch.setattr(lease, "LOAD_LEASE_S", 0.1)  # the first one waits for seconds before it renews its lease
        with RowLease(client).held("busy"):
            pass
        with pytest.raises(LockLostError):
            hung.close()


def test_a_lock_that_is_lost_is_told(api: SimulatedEnrow, new_source: NewSource, postgres: Postgres) -> None:
    """Nobody knows then what other runs have done: the run fails, and its batches are fetched again."""
    pipeline = dlt.pipeline(
        "cut", destination=dlt.destinations.postgres(postgres.url), dataset_name="cut", progress=Cut(postgres)
    )
    with pytest.raises(PipelineStepFailed, match="the lock on the dataset was lost during the load"):
        pipeline.run(new_source([api.add_completed("a", 2)]))
    pipeline = dlt.pipeline("other", destination=dlt.destinations.postgres(postgres.url), dataset_name="cut")
    pipeline.run(new_source([]))
    assert api.fetches("a") == 2
    (row,) = postgres.query("SELECT count(*) AS rows, count(DISTINCT _dlt_load_id) AS loads FROM cut.phone_results")
    assert row == {"rows": 2, "loads": 1}
    for name in ("cut", "cut_staging"):
        postgres.query(f"DROP SCHEMA IF EXISTS {name} CASCADE")
