"""Rows of `phone_results` that a killed load has left, and that no ledger knows of.

They are under a load that has begun and is not complete (see `load_status`). It is either under way or was killed; who
holds the lock on the dataset knows that it was killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import dlt
from dlt.common import logger
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from ..tables.schema import DEFERRED_BATCH_IDS, PHONE_RESULTS, PHONE_RESULTS_LEDGER, TABLES
from .delta import detach_from_load, open_table
from .load_lock import load_lock
from .load_status import REMOVED, loads_table, note_in_lake, select_begun
from .session import POSTGRES, Session
from .sql import at_once, parameters

if TYPE_CHECKING:
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
    from dlt.destinations.sql_client import SqlClientBase


def remove_orphans(session: Session, load_ids: Sequence[str]) -> None:
    """Delete what killed loads have left in `phone_results`; waits for those that are under way.

    Their batches leave their load in the ledger first: whatever ends the run from here on, the next one fetches them.
    """
    with load_lock(cast("dlt.Pipeline", session.pipeline)):
        remove_orphans_of_killed(session, load_ids)


def remove_orphans_of_killed(session: Session, load_ids: Sequence[str]) -> None:
    """Do that where the lock on the dataset is held."""
    with session.sql_client() as client:
        if session.destination_type == POSTGRES:
            _wait_for_writers(client)
        begun = {str(load_id) for (load_id,) in client.execute_sql(select_begun(client, session.schema)) or ()}
        killed = sorted(begun.intersection(load_ids))
        if not killed:
            return
        if not session.is_filesystem:
            _remove_with_sql(client, killed)
            table, load, status = loads_table(client, session.schema)
            names = parameters(killed)
            client.execute_sql(f"UPDATE {table} SET {status} = {REMOVED} WHERE {load} IN ({names})", *killed)  # noqa: S608
    if session.is_filesystem:
        with session.lake() as lake:
            _remove_from_lake(lake, session.schema.name, killed)
            for each in killed:
                note_in_lake(lake, session.schema, each, REMOVED)
    logger.warning(f"removed what {len(killed)} killed load(s) had left in {PHONE_RESULTS.name}: {', '.join(killed)}")


def _remove_with_sql(client: SqlClientBase[Any], killed: Sequence[str]) -> None:
    batch_id, load_id = client.escape_column_name("batch_id"), client.escape_column_name("_dlt_load_id")
    ledger, results = (client.make_qualified_table_name(t.name) for t in (PHONE_RESULTS_LEDGER, PHONE_RESULTS))
    names = parameters(killed)
    with suppress(DestinationUndefinedEntity), at_once(client):  # a run that selected other tables makes neither
        client.execute_sql(
            f"UPDATE {ledger} SET {load_id} = '' WHERE {batch_id} IN"  # noqa: S608 - escaped names
            f" (SELECT {batch_id} FROM {results} WHERE {load_id} IN ({names}))",
            *killed,
        )
        client.execute_sql(f"DELETE FROM {results} WHERE {load_id} IN ({names})", *killed)  # noqa: S608


def _remove_from_lake(lake: FilesystemClient, schema_name: str, killed: Sequence[str]) -> None:
    try:
        results = open_table(lake, schema_name, PHONE_RESULTS.name)
    except DestinationUndefinedEntity:
        return
    of_killed = [("_dlt_load_id", "in", killed)]
    left = results.to_pyarrow_table(columns=["batch_id"], filters=of_killed)["batch_id"].unique().to_pylist()
    if not left:
        return
    with suppress(DestinationUndefinedEntity):  # the load was killed before it made the ledger
        detach_from_load(open_table(lake, schema_name, PHONE_RESULTS_LEDGER.name), left)
    names = ", ".join(f"'{load_id}'" for load_id in killed)
    results.delete(f"_dlt_load_id IN ({names})")


def _wait_for_writers(client: SqlClientBase[Any]) -> None:
    """Wait for statements of killed processes: Postgres finishes one that it has, also when nobody waits for it."""
    for table in (*TABLES, DEFERRED_BATCH_IDS):
        with suppress(DestinationUndefinedEntity), client.begin_transaction():
            name = client.make_qualified_table_name(table.name)
            client.execute_sql(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")
