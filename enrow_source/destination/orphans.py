"""Rows of `phone_results` that a killed load has left, and that no ledger knows of.

A load is written down in `_dlt_loads` as begun before its first job: dlt writes a row with status 0
when it is complete. A load that has begun and is not complete is either under way or was killed; who holds the lock on
the dataset knows that it was killed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import dlt
from dlt.common import logger
from dlt.common.destination.client import JobClientBase
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.job_client_impl import SqlJobClientBase

from ..tables.schema import DEFERRED_BATCH_IDS, PHONE_RESULTS, PHONE_RESULTS_LEDGER, TABLES
from .delta import detach_from_load, open_table
from .load_lock import load_lock
from .session import POSTGRES, Session
from .sql import at_once, loads_table, parameters
from .statement import BEGUN, REMOVED

if TYPE_CHECKING:
    from dlt.common.schema import Schema
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
    from dlt.destinations.sql_client import SqlClientBase


def note_begun(job_client: JobClientBase, load_id: str) -> None:
    """Write down that a load begins."""
    if not isinstance(job_client, SqlJobClientBase):
        _note_begun_in_lake(cast("FilesystemClient", job_client), load_id)
        return
    client, schema = job_client.sql_client, job_client.schema
    table = client.make_qualified_table_name(schema.loads_table_name)
    row = load_id, schema.name, BEGUN, datetime.now(UTC), schema.version_hash
    sql = f"INSERT INTO {table} ({job_client.loads_table_schema_columns}) VALUES (%s, %s, %s, %s, %s)"  # noqa: S608
    try:
        client.execute_sql(sql, *row)
    except DestinationUndefinedEntity:
        # The first load: dlt makes the other tables next, and stores the schema with them.
        job_client.initialize_storage()
        job_client._execute_schema_update_sql([schema.loads_table_name], store_schema=False)  # noqa: SLF001
        client.execute_sql(sql, *row)


def _note_begun_in_lake(lake: FilesystemClient, load_id: str) -> None:
    if not lake.is_storage_initialized():
        lake.initialize_storage()  # as dlt does next: it makes the folder of the dataset, and expects none
    _note_in_lake(lake, lake.schema, load_id, BEGUN)


def _note_in_lake(lake: FilesystemClient, schema: Schema, load_id: str, status: int) -> None:
    """Write the status of a load into a file of `_dlt_loads`, which dlt writes over when the load is complete."""
    from dlt.destinations.impl.filesystem.filesystem import FILENAME_SEPARATOR  # noqa: PLC0415 - where there is a lake

    folder = lake.pathlib.join(lake.dataset_path, schema.loads_table_name)
    row = {"load_id": load_id, "schema_name": schema.name, "status": status}
    row |= {"inserted_at": datetime.now(UTC).isoformat(), "schema_version_hash": schema.version_hash}
    lake.fs_client.makedirs(folder, exist_ok=True)
    file = lake.pathlib.join(folder, f"{schema.name}{FILENAME_SEPARATOR}{load_id}.jsonl")
    lake.fs_client.write_text(file, json.dumps(row), encoding="utf-8")


def note_complete(job_client: JobClientBase, load_id: str) -> None:
    """Take back that a load has begun, where it is complete. A row that stays beside dlt's says nothing.

    In a lake dlt has written its file over ours.
    """
    if not isinstance(job_client, SqlJobClientBase):
        return
    client = job_client.sql_client
    table, load, status = loads_table(client, job_client.schema)
    client.execute_sql(
        f"DELETE FROM {table} WHERE {load} = %s AND {status} = {BEGUN}"  # noqa: S608 - escaped names
        f" AND {load} IN (SELECT {load} FROM {table} WHERE {status} = 0)",
        load_id,
    )


def note_incomplete(job_client: JobClientBase, load_id: str) -> None:
    """Let a load that lost the lock count as killed: another run may have loaded between its jobs."""
    if not isinstance(job_client, SqlJobClientBase):
        _note_in_lake(cast("FilesystemClient", job_client), job_client.schema, load_id, BEGUN)
        return
    client = job_client.sql_client
    table, load, status = loads_table(client, job_client.schema)
    client.execute_sql(f"UPDATE {table} SET {status} = {BEGUN} WHERE {load} = %s", load_id)  # noqa: S608 - escaped names


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
        table, load, status = loads_table(client, session.schema)
        names = parameters(load_ids)
        rows = client.execute_sql(
            f"SELECT {load} FROM {table} WHERE {load} IN ({names}) GROUP BY {load} HAVING MIN({status}) = {BEGUN}",  # noqa: S608
            *load_ids,
        )
        killed = [str(row[0]) for row in rows or ()]
        if not killed:
            return
        if not session.is_filesystem:
            _remove_with_sql(client, killed)
            names = parameters(killed)
            client.execute_sql(f"UPDATE {table} SET {status} = {REMOVED} WHERE {load} IN ({names})", *killed)  # noqa: S608
    if session.is_filesystem:
        with cast("dlt.Pipeline", session.pipeline).destination_client() as job_client:
            lake = cast("FilesystemClient", job_client)
            _remove_from_lake(lake, session.schema.name, killed)
            for each in killed:
                _note_in_lake(lake, session.schema, each, REMOVED)
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
