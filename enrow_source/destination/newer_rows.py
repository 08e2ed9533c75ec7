"""Whether what a killed run has left is older than what the destination has by now."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.utils import chunks

from ..settings import DELETE_IDS
from ..tables.schema import LEDGER_TABLES
from .packages import left_packages
from .session import FILESYSTEM, sql_client_of
from .sql import parameters
from .suppressions import ERASURES

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


def has_newer_rows(pipeline: dlt.Pipeline) -> bool:
    """Return whether a batch of the packages that were left was fetched since by another run, or somebody was erased.

    The ids of loads are times, in seconds: when their extraction began.
    """
    schema_name, left = next(iter(pipeline.schema_names), None), left_packages(pipeline)
    if schema_name is None or not left:
        return False
    since = datetime.fromtimestamp(min(map(float, left)), UTC)
    batch_ids = sorted({batch_id for mark in left.values() for batch_id in mark["batches"]})
    with sql_client_of(pipeline, schema_name) as client:
        # A lake has no erasures: people cannot be erased there.
        if pipeline.destination.destination_type != FILESYSTEM and _is_found(client, ERASURES, "erased_at", since):
            return True
        return any(
            _is_found(client, table, "fetched_at", since, some)
            for table in LEDGER_TABLES.values()
            for some in chunks(batch_ids, DELETE_IDS)
        )


def _is_found(
    client: SqlClientBase[Any], table: str, column: str, since: datetime, batch_ids: Sequence[str] = ()
) -> bool:
    at, batch_id = map(client.escape_column_name, (column, "batch_id"))
    of_batches = f" AND {batch_id} IN ({parameters(batch_ids)})" if batch_ids else ""
    sql = f"SELECT COUNT(*) FROM {client.make_qualified_table_name(table)} WHERE {at} > %s{of_batches}"  # noqa: S608
    with suppress(DestinationUndefinedEntity):
        rows = client.execute_sql(sql, since, *batch_ids)
        return bool(rows and rows[0][0])
    return False
