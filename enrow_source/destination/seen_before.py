"""What earlier runs have loaded of batches that this run has no answer for: asked for where there are such alone."""

from __future__ import annotations

from collections.abc import Collection

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.utils import chunks

from ..api.models import BatchStatus
from ..settings import DELETE_IDS
from ..tables.schema import BATCH_STATS, BATCHES
from .session import Session
from .sql import parameters


def requested_before(session: Session, batch_ids: Collection[str]) -> dict[str, int]:
    """Return the searches of those of the batches that an earlier run has seen pending; 0 where it is not known."""
    ended = ", ".join(f"'{status.value}'" for status in BatchStatus if status.is_terminal)
    if not batch_ids or session.destination_type is None:
        return {}
    with session.sql_client() as client:
        column, found = client.escape_column_name, dict[str, int]()
        for table, requested in ((BATCH_STATS, column("requested")), (BATCHES, "NULL")):
            for some in chunks(sorted(batch_ids), DELETE_IDS):
                sql = (
                    f"SELECT {column('batch_id')}, {requested} FROM {client.make_qualified_table_name(table.name)}"  # noqa: S608 - names
                    f" WHERE {column('batch_id')} IN ({parameters(some)})"
                    f" AND {column('status')} NOT IN ({ended})"
                )
                try:
                    found |= {batch_id: int(count or 0) for batch_id, count in client.execute_sql(sql, *some) or ()}
                except DestinationUndefinedEntity:
                    break  # only some tables are loaded
            else:
                return found
    return {}
