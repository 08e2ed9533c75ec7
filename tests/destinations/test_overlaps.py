"""Runs that overlap: no batch is there twice, and none is missing."""

from pathlib import Path
from typing import Any

import pytest

from enrow_source import enrow_source
from enrow_source.testing import SimulatedEnrow
from tests.destinations.dataset import TargetDataset
from tests.destinations.overlaps import rounds
from tests.destinations.targets import Started, Target


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


@pytest.mark.slow
def test_runs_started_at_once(target: Target, started: Started, tmp_path: Path) -> None:
    """Two fresh containers run one schedule at the same time, twice."""
    found = rounds(target, started, tmp_path, number=2, batches=6)
    assert [round_.wrong for round_ in found] == [[], []]
