"""`phone_results_ledger.results_loaded`: kept true where rows are deleted, and compared with what is there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from ..errors import EnrowError
from ..settings import SOURCE_NAME
from ..tables.schema import PHONE_RESULTS, PHONE_RESULTS_LEDGER
from .session import sql_client_of
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


_NAMED: Final = 20
"""Batches that are named in a message."""


def compare_rows(pipeline: dlt.Pipeline) -> str:
    """Say that every batch has the rows that `results_loaded` claims, or that there is no such table yet.

    Raises:
        EnrowError: Some batches have other rows; names them, and the command that loads them again.
    """
    with sql_client_of(pipeline, SOURCE_NAME) as client:
        differ = _rows_that_differ(client)
    if differ is None:
        return "there is no phone_results yet"
    if not differ:
        return "phone_results has the rows that results_loaded says"
    named = ", ".join(map(str, differ[:_NAMED]))
    more = f" and {len(differ) - _NAMED:,} more" if len(differ) > _NAMED else ""
    ids = " ".join(shlex.quote(each.batch_id) for each in differ[:_NAMED])
    raise EnrowError(
        f"batches with other rows in phone_results than results_loaded in phone_results_ledger says: {named}{more}."
        f" Unless a run is at work, this loads them again: enrow run {ids} --refetch"
    )


@dataclass(frozen=True, slots=True)
class _Differing:
    """A batch that has other rows in `phone_results` than the ledger says."""

    batch_id: str
    claimed: int
    """`results_loaded`; 0 where the ledger does not count the batch as loaded."""
    found: int

    def __str__(self) -> str:
        return f"{self.batch_id} ({self.found:,} rows, {self.claimed:,} loaded)"


def _rows_that_differ(client: SqlClientBase[Any]) -> list[_Differing] | None:
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


def _differences(client: SqlClientBase[Any], parts: Sequence[str]) -> list[_Differing]:
    sql = (
        f"SELECT batch_id, MAX(claimed), MAX(found) FROM ({' UNION ALL '.join(parts)}) counts"  # noqa: S608 - as above
        " GROUP BY batch_id HAVING MAX(claimed) <> MAX(found) ORDER BY batch_id"
    )
    return [_Differing(name, int(claimed), int(found)) for name, claimed, found in client.execute_sql(sql) or ()]
