"""`phone_results_ledger.results_loaded`: kept true where rows are deleted, and compared with what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from ..tables.schema import PHONE_RESULTS, PHONE_RESULTS_LEDGER
from .sql import Rows, exists

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


def correct_results_loaded(client: SqlClientBase[Any], erased: Rows) -> None:
    """Set `results_loaded` to the rows of `phone_results` that stay, before the others are deleted."""
    batch_id, loaded = client.escape_column_name("batch_id"), client.escape_column_name("results_loaded")
    sql = (
        f"SELECT {batch_id}, SUM(CASE WHEN {erased.condition} THEN 0 ELSE 1 END) FROM {erased.table}"  # noqa: S608 - escaped names
        f" WHERE {batch_id} IN (SELECT {batch_id} FROM {erased.table} WHERE {erased.condition})"
        f" GROUP BY {batch_id}"
    )
    ledger = client.make_qualified_table_name(PHONE_RESULTS_LEDGER.name)
    # Set and not subtracted, so that doing it again does no harm where there are no transactions.
    for erased_from, kept in client.execute_sql(sql, *erased.values, *erased.values) or ():
        client.execute_sql(
            f"UPDATE {ledger} SET {loaded} = %s WHERE {batch_id} = %s",  # noqa: S608 - escaped names
            int(kept),
            erased_from,
        )


@dataclass(frozen=True, slots=True)
class RowsDiffer:
    """A batch that has other rows in `phone_results` than the ledger says."""

    batch_id: str
    claimed: int
    """`results_loaded`; 0 where the ledger does not count the batch as loaded."""
    found: int
    """Rows in `phone_results`."""

    def __str__(self) -> str:
        return f"{self.batch_id} ({self.found:,} rows, {self.claimed:,} loaded)"


def rows_that_differ(client: SqlClientBase[Any]) -> list[RowsDiffer] | None:
    """Compare the rows of `phone_results` with the ledger, batch by batch; None where there is neither table.

    Batches that a run is loading at this moment differ too.
    """
    column, table = client.escape_column_name, client.make_qualified_table_name
    batch_id, load_id = column("batch_id"), column("_dlt_load_id")
    ledger, results = table(PHONE_RESULTS_LEDGER.name), table(PHONE_RESULTS.name)
    claimed = f"{batch_id} AS batch_id, {column('results_loaded')} AS claimed, 0 AS found"
    parts = {
        ledger: f"SELECT {claimed} FROM {ledger} WHERE {load_id} <> ''",  # noqa: S608 - escaped names
        results: f"SELECT {batch_id}, 0 AS claimed, COUNT(*) AS found FROM {results} GROUP BY {batch_id}",  # noqa: S608
    }
    try:
        return _differences(client, list(parts.values()))
    except DestinationUndefinedEntity:
        # One that is gone has no rows, and the other one says of which batches.
        there = [sql for name, sql in parts.items() if exists(client, name)]
        return _differences(client, there) if there else None


def _differences(client: SqlClientBase[Any], parts: Sequence[str]) -> list[RowsDiffer]:
    sql = (
        f"SELECT batch_id, MAX(claimed), MAX(found) FROM ({' UNION ALL '.join(parts)}) counts"  # noqa: S608 - as above
        " GROUP BY batch_id HAVING MAX(claimed) <> MAX(found) ORDER BY batch_id"
    )
    return [RowsDiffer(name, int(claimed), int(found)) for name, claimed, found in client.execute_sql(sql) or ()]
