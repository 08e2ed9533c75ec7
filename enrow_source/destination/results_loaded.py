"""Keeps `phone_results_ledger.results_loaded` true where rows of `phone_results` are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..tables.schema import PHONE_RESULTS_LEDGER

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


def correct_results_loaded(client: SqlClientBase[Any], results: str, condition: str, values: Sequence[str]) -> None:
    """Set `results_loaded` to the rows that stay, before those that the condition selects are deleted.

    Args:
        client: Of the destination.
        results: `phone_results`, qualified and escaped.
        condition: SQL, with a parameter for each of the values.
        values: Of the parameters.
    """
    batch_id, loaded = client.escape_column_name("batch_id"), client.escape_column_name("results_loaded")
    sql = (
        f"SELECT {batch_id}, SUM(CASE WHEN {condition} THEN 0 ELSE 1 END) FROM {results}"  # noqa: S608 - escaped names
        f" WHERE {batch_id} IN (SELECT {batch_id} FROM {results} WHERE {condition}) GROUP BY {batch_id}"
    )
    ledger = client.make_qualified_table_name(PHONE_RESULTS_LEDGER.name)
    # Set and not subtracted, so that doing it again does no harm where there are no transactions.
    for erased_from, kept in client.execute_sql(sql, *values, *values) or ():
        client.execute_sql(
            f"UPDATE {ledger} SET {loaded} = %s WHERE {batch_id} = %s",  # noqa: S608 - escaped names
            int(kept),
            erased_from,
        )
