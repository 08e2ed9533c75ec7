"""Appends rows to tables that grow by a row a run: an INSERT each, without a load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Any

import dlt
from dlt.common import logger
from dlt.common.destination.client import JobClientBase
from dlt.common.destination.exceptions import DestinationException, DestinationUndefinedEntity
from dlt.destinations.exceptions import DatabaseException, DatabaseTerminalException
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract import DltResource

from ..lazy import pa
from ..tables.schema import Column, DataType, Table
from .connection_errors import text_of
from .create_tables import create_tables
from .session import SNOWFLAKE
from .sql import insert

Row = tuple[Table, Mapping[str, Any]]
"""A declared table, and the columns of its new row, each a value or None."""


def log_table(name: str, description: str, columns: Mapping[str, tuple[DataType, str]]) -> Table:
    """Declare a table of runs: type and description of each column, the first of which is the id of the run."""
    required = next(iter(columns))
    declared = (Column(column, kind, text, nullable=column != required) for column, (kind, text) in columns.items())
    return Table(name, description, (), tuple(declared))


def append_rows(pipeline: dlt.Pipeline, rows: Sequence[Row]) -> list[str]:
    """Append the rows of a run that has ended, over one connection; return the tables that took none, as logged."""
    try:
        with pipeline.destination_client() as client:
            return [row[0].name for row in rows if not append_row(pipeline, client, row)]
    except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
        names = [table.name for table, _ in rows]
        _warn(", ".join(names), error)
        return names


def append_row(pipeline: dlt.Pipeline, client: JobClientBase, row: Row, *, creates: bool = True) -> bool:
    """Append a row; where that fails, the log says so, and False is returned.

    What is missing is made where the INSERT does not fit: there is no table yet, or one of an earlier version, or one
    that somebody has altered. A table that cannot take the row is renamed, and a new one is made. Its schema is its
    own, and the pipeline keeps schema and state. Without `creates`, a table that is not there is left so.
    """
    try:
        if isinstance(client, SqlJobClientBase):
            _insert_or_repair(str(pipeline.destination.destination_type), client, row, creates=creates)
        elif creates:
            _load(pipeline, *row)
    except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
        _warn(row[0].name, error)
        return False
    return True


def _warn(tables: str, error: Exception) -> None:
    message = " ".join(text_of(error).split())
    logger.warning(f"no row in {tables} for this run: {type(error).__name__}: {message:.200}")


def _insert_or_repair(kind: str, client: SqlJobClientBase, row: Row, *, creates: bool) -> None:
    try:
        insert(client.sql_client, row[0].name, [row[1]])
    except DatabaseException as error:
        if creates or not isinstance(error, DestinationUndefinedEntity):
            _repair(kind, client, row, may_rename=isinstance(error, DatabaseTerminalException))


def _repair(kind: str, client: SqlJobClientBase, row: Row, *, may_rename: bool) -> None:
    try:
        _create_and_insert(kind, client, row)
    except DestinationException:
        if not may_rename:
            raise
        name = row[0].name
        kept, sql_client = f"{name}_{datetime.now(UTC):%Y%m%d_%H%M%S}", client.sql_client
        # Snowflake alone takes a bare name for one of another schema.
        new = sql_client.make_qualified_table_name(kept) if kind == SNOWFLAKE else sql_client.escape_column_name(kept)
        sql_client.execute_sql(f"ALTER TABLE {sql_client.make_qualified_table_name(name)} RENAME TO {new}")
        logger.warning(f"{name} did not take the row of this run: it is {kept} now, and a new one begins")
        _create_and_insert(kind, client, row)


def _create_and_insert(kind: str, client: SqlJobClientBase, row: Row) -> None:
    create_tables(kind, client, row[0].name, [row[0]])
    insert(client.sql_client, row[0].name, [row[1]])


def _load(pipeline: dlt.Pipeline, table: Table, row: Mapping[str, Any]) -> None:
    """Load the row into files, with a pipeline of its own."""
    with TemporaryDirectory() as folder:
        try:
            appending = dlt.pipeline(
                table.name,
                destination=pipeline.destination,
                staging=pipeline.staging,
                dataset_name=pipeline.dataset_name,
                pipelines_dir=folder,
            )
            found = pa.Table.from_pylist([dict(row)], schema=table.arrow)
            appending.run(appended(table, [found]), schema=dlt.Schema(table.name))
        finally:
            pipeline.activate()


def appended(table: Table, rows: list[Any]) -> DltResource:
    """Return a resource that appends rows to a declared table."""
    columns = [column.hints for column in table.columns]
    resource: DltResource = dlt.resource(rows, name=table.name, columns=columns, write_disposition="append")
    resource.apply_hints(additional_table_hints={"description": table.description})
    return resource
