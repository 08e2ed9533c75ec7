"""What `_dlt_loads` says of a load besides that it is complete: that it has begun, and that it was removed.

A load is written down as begun before its first job; dlt writes a row with status 0 when it is complete. A load that
has begun and is not complete is either under way or was killed. In a lake each row is a file, and dlt writes over ours.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from dlt.common.destination.client import JobClientBase
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.job_client_impl import SqlJobClientBase

if TYPE_CHECKING:
    from dlt.common.schema import Schema
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
    from dlt.destinations.sql_client import SqlClientBase

BEGUN: Final = 1
"""Status in `_dlt_loads` of a load that has begun; dlt's own, for a complete one, is 0."""

REMOVED: Final = 2
"""Status of a load that was killed, and whose rows were removed: it keeps its place among the oldest ones."""


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
    note_in_lake(lake, lake.schema, load_id, BEGUN)


def note_in_lake(lake: FilesystemClient, schema: Schema, load_id: str, status: int) -> None:
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
        note_in_lake(cast("FilesystemClient", job_client), job_client.schema, load_id, BEGUN)
        return
    client = job_client.sql_client
    table, load, status = loads_table(client, job_client.schema)
    client.execute_sql(f"UPDATE {table} SET {status} = {BEGUN} WHERE {load} = %s", load_id)  # noqa: S608 - escaped names


def loads_table(client: SqlClientBase[Any], schema: Schema) -> tuple[str, str, str]:
    """Return the names of `_dlt_loads` and of its columns, escaped."""
    load, status = (client.escape_column_name(schema.naming.normalize_identifier(n)) for n in ("load_id", "status"))
    return client.make_qualified_table_name(schema.loads_table_name), load, status


def select_begun(client: SqlClientBase[Any], schema: Schema) -> str:
    """Return the query for the loads that have begun and are not complete."""
    table, load, status = loads_table(client, schema)
    return f"SELECT {load} FROM {table} GROUP BY {load} HAVING MIN({status}) = {BEGUN}"  # noqa: S608 - escaped names
