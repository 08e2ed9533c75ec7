"""Takes out, before a load, rows of `phone_results` that the load itself cannot replace.

A merge replaces a batch by the rows that come, so it leaves the old ones of a batch that comes back with none. And
Delta tables know no merge by batch at all: rows are appended to them, and what a batch had before goes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from .arrow import pa
from .settings import REMOVAL_IDS

if TYPE_CHECKING:
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient


def remove_results(batch_ids: Sequence[str], results: str, ledger: str, *, is_delta: bool) -> None:
    """Remove the rows of batches from the destination of the running pipeline.

    Their rows in the ledger leave their load first: whatever ends the run from here on, the next one fetches them.

    Args:
        batch_ids: The batches.
        results: The table to remove them from.
        ledger: The table that tells which batches it holds.
        is_delta: Whether the tables are Delta tables of a filesystem.
    """
    if batch_ids and is_delta:
        _remove_from_lake(batch_ids, results, ledger)
    elif batch_ids:
        _remove_with_sql(batch_ids, results, ledger)


def _remove_from_lake(batch_ids: Sequence[str], results: str, ledger: str) -> None:
    source = pa.table({"batch_id": pa.array(batch_ids, pa.string())})
    matched: dict[str, Any] = {"predicate": "t.batch_id = s.batch_id", "source_alias": "s", "target_alias": "t"}
    with dlt.current.pipeline().destination_client() as client:
        lake = cast("FilesystemClient", client)
        try:
            tables = [lake.load_open_table("delta", name) for name in (ledger, results)]
        except DestinationUndefinedEntity:
            return  # nothing was ever loaded
        tables[0].merge(source, **matched).when_matched_update({"_dlt_load_id": "''"}).execute()
        tables[1].merge(source, **matched).when_matched_delete().execute()


def _remove_with_sql(batch_ids: Sequence[str], results: str, ledger: str) -> None:
    with dlt.current.pipeline().sql_client() as client:
        batch_id, load_id = client.escape_column_name("batch_id"), client.escape_column_name("_dlt_load_id")
        unload = f"UPDATE {client.make_qualified_table_name(ledger)} SET {load_id} = '' WHERE {batch_id} IN"  # noqa: S608
        delete = f"DELETE FROM {client.make_qualified_table_name(results)} WHERE {batch_id} IN"  # noqa: S608
        for some in _parts(batch_ids):
            names = ", ".join(["%s"] * len(some))
            client.execute_sql(f"{unload} ({names})", *some)
            client.execute_sql(f"{delete} ({names})", *some)


def _parts(batch_ids: Sequence[str]) -> Iterator[list[str]]:
    left = iter(batch_ids)
    while some := list(islice(left, REMOVAL_IDS)):
        yield some
