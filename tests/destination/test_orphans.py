"""Loads that have begun and were killed."""

from typing import Any

import duckdb

from enrow_source import run
from enrow_source.testing import SimulatedEnrow


def test_killed_load_of_some_tables(api: SimulatedEnrow) -> None:
    """A load of `batches` alone was killed: there is no `phone_results` to clean up, and the next run goes on."""
    options: dict[str, Any] = {"enrow_api_key": api.api_key, "enrow_base_url": api.url}
    run([api.add_completed("first", 2)], tables=["batches"], **options)
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute(
            "INSERT INTO enrow_data._dlt_loads (load_id, schema_name, status, inserted_at)"
            " SELECT '9' || load_id, schema_name, 1, inserted_at FROM enrow_data._dlt_loads"
        )
    run([api.add_completed("second", 2)], tables=["batches"], **options)
    with duckdb.connect("warehouse.duckdb") as connection:
        found = connection.execute("SELECT batch_id FROM enrow_data.batches ORDER BY 1").fetchall()
        statuses = connection.execute("SELECT DISTINCT status FROM enrow_data._dlt_loads ORDER BY 1").fetchall()
    assert (found, statuses) == ([("first",), ("second",)], [(0,), (2,)])
