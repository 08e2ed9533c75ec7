"""Appends one row to a table that grows by a row a run: one INSERT, without a load."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Any

import dlt
from dlt.common import logger
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema.typing import TColumnSchema
from dlt.destinations.exceptions import DatabaseException, DatabaseTerminalException
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract import DltResource
from dlt.pipeline.exceptions import PipelineStepFailed

from ..lazy import pa
from ..tables.schema import Table
from .comments import comment_tables
from .session import SNOWFLAKE


def append_row(pipeline: dlt.Pipeline, table: Table, row: Mapping[str, Any], *, creates: bool = True) -> None:
    """Append the row of a run that has ended; where that fails, the log says so.

    dlt loads the row, and makes what is missing, where the destination is files, and where the INSERT does not fit:
    there is no table yet, or one of an earlier version, or one that somebody has altered. A table that cannot take the
    row is renamed, and a new one is made.

    Args:
        pipeline: Names destination and dataset; keeps its schema and its state.
        table: Declared; it is alone in a schema of its own name, so that no `refresh` of the source drops it.
        row: Its columns, each a value or None.
        creates: Whether a table that is not there is created; else nothing is written.
    """
    try:
        if isinstance(pipeline.destination_client(), SqlJobClientBase):
            _insert_or_repair(pipeline, table, row, creates=creates)
        elif creates:
            _load(pipeline, table, row, repairs=False)
    except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
        message = " ".join(str(error).split())
        logger.warning(f"no row in {table.name} for this run: {type(error).__name__}: {message:.200}")


def _insert_or_repair(pipeline: dlt.Pipeline, table: Table, row: Mapping[str, Any], *, creates: bool) -> None:
    try:
        _insert(pipeline, table, row)
    except DatabaseException as error:
        if creates or not isinstance(error, DestinationUndefinedEntity):
            _repair(pipeline, table, row, may_rename=isinstance(error, DatabaseTerminalException))


def _insert(pipeline: dlt.Pipeline, table: Table, row: Mapping[str, Any]) -> None:
    # NULL is written out: a parameter without a type is one that BigQuery refuses.
    values = ", ".join("NULL" if value is None else "%s" for value in row.values())
    with pipeline.sql_client() as client:
        columns = ", ".join(map(client.escape_column_name, row))
        client.execute_sql(
            f"INSERT INTO {client.make_qualified_table_name(table.name)} ({columns}) VALUES ({values})",  # noqa: S608 - escaped
            *(value for value in row.values() if value is not None),
        )


def _repair(pipeline: dlt.Pipeline, table: Table, row: Mapping[str, Any], *, may_rename: bool) -> None:
    try:
        _load(pipeline, table, row, repairs=True)
    except PipelineStepFailed:
        if not may_rename:
            raise
        kept = f"{table.name}_{datetime.now(UTC):%Y%m%d_%H%M%S}"
        with pipeline.sql_client() as client:
            # Snowflake alone takes a bare name for one of another schema.
            is_bare = pipeline.destination.destination_type != SNOWFLAKE
            new = client.escape_column_name(kept) if is_bare else client.make_qualified_table_name(kept)
            client.execute_sql(f"ALTER TABLE {client.make_qualified_table_name(table.name)} RENAME TO {new}")
        logger.warning(f"{table.name} did not take the row of this run: it is {kept} now, and a new one begins")
        _load(pipeline, table, row, repairs=True)


def _load(pipeline: dlt.Pipeline, table: Table, row: Mapping[str, Any], *, repairs: bool) -> None:
    """Load the row with a pipeline of its own."""
    with TemporaryDirectory() as folder:
        try:
            appending = dlt.pipeline(
                table.name,
                destination=pipeline.destination,
                staging=pipeline.staging,
                dataset_name=pipeline.dataset_name,
                pipelines_dir=folder,
            )
            resource = _resource(table, row, repairs=repairs)
            comment_tables(appending, appending.run(resource, schema=dlt.Schema(table.name)))
        finally:
            pipeline.activate()


def _resource(table: Table, row: Mapping[str, Any], *, repairs: bool) -> DltResource:
    columns: list[TColumnSchema] = [column.hints for column in table.columns]
    # Arrow, so that the table gets no columns of dlt's, which an INSERT would have to fill.
    found = pa.Table.from_pylist([dict(row)], schema=table.arrow)
    resource: DltResource = dlt.resource([found], name=table.name, columns=columns, write_disposition="append")
    # dlt compares a table with the destination only where its schema is not stored there yet.
    hints = {"x-made-again-by": str(uuid.uuid4())} if repairs else {}
    return resource.apply_hints(additional_table_hints={"description": table.description, **hints})
