"""Runs that overlap: no batch is there twice, and none is missing."""

import os
import subprocess
import sys
from typing import Any

import pytest
from dlt.load import Load
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import enrow_source
from enrow_source.testing import SimulatedEnrow
from tests.destinations.dataset import TargetDataset
from tests.destinations.targets import Started, Target
from tests.support import REPOSITORY


def test_run_between_extract_and_load(warehouse: TargetDataset) -> None:
    """A extracts, B runs, A loads: A replaces what B has loaded."""
    with SimulatedEnrow() as api:
        options: dict[str, Any] = {"enrow_api_key": api.api_key, "enrow_base_url": api.url}
        warehouse.run(enrow_source([api.add_completed("earlier", 3)], **options), "b")
        warehouse.pipeline().sync_destination()  # a lake is read by the schema
        api.add_completed("done", 4)

        first = warehouse.pipeline("a")
        first.sync_destination()
        first.extract(enrow_source(["done"], **options))
        warehouse.run(enrow_source(["done"], **options), "b")
        first.normalize()
        first.load()

        for table, count in (("batches", 2), ("batch_stats", 2), ("phone_results_ledger", 2), ("phone_results", 7)):
            assert len(warehouse.rows(table)) == count, table
        warehouse.run(enrow_source(["done"], **options), "c")
        assert api.fetches("done") == 2
        assert len(warehouse.rows("phone_results")) == 7


def test_a_killed_load_that_is_older_than_all_others(warehouse: TargetDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A extracts, B runs, A is killed in its load: what A left does not pass for a load of long ago."""
    with SimulatedEnrow() as api:
        options: dict[str, Any] = {"enrow_api_key": api.api_key, "enrow_base_url": api.url}
        killed, done = (api.add_completed(name, 4) for name in ("killed", "done"))
        first = warehouse.pipeline("a")
        first.extract(enrow_source([killed], **options))
        warehouse.run(enrow_source([done], **options), "b")
        first.normalize()
        with monkeypatch.context() as patch:
            patch.setattr(Load, "complete_package", _die)
            with pytest.raises(PipelineStepFailed):
                first.load()
        warehouse.pipeline().sync_destination()  # a lake is read by the schema
        for table in ("batches", "batch_stats"):  # the order of the tables is any
            warehouse.delete_batch(table, killed)
        warehouse.run(enrow_source([], **options), "c")
        assert api.fetches(killed) == 2
        for table, count in (("batches", 2), ("batch_stats", 2), ("phone_results_ledger", 2), ("phone_results", 8)):
            assert len(warehouse.rows(table)) == count, table


def _die(*_: object) -> None:
    raise RuntimeError("killed")


@pytest.mark.slow
def test_runs_started_at_once(target: Target, started: Started, request: pytest.FixtureRequest) -> None:
    """Two fresh containers run one schedule at the same time, twice; in a process that has no client open yet."""
    options = ["--rounds=2", "--batches=6", *_real(request)]
    assert _last_line("overlaps", target, started, options).startswith(f"{target.name}: 2 rounds, 0 wrong")


@pytest.mark.slow
def test_run_that_hangs(target: Target, started: Started, request: pytest.FixtureRequest) -> None:
    """It goes on after another one has loaded; then while another one, which hung too, has yet to load the rest."""
    options = ["--jobs=2", "--others=2", *_real(request)]
    assert _last_line("hanging", target, started, options) == f"{target.name}: stopped 2 times, 0 wrong"


def _real(request: pytest.FixtureRequest) -> list[str]:
    return ["--real"] if request.config.getoption("--real", default=False) else []


def _last_line(module: str, target: Target, started: Started, options: list[str]) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.destinations.{module}", target.name, *options],
        cwd=REPOSITORY,
        env=os.environ | started.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()[-1]
