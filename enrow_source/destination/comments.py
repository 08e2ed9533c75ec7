"""What dlt leaves out when it makes the tables: comments in DuckDB and Postgres, and an index in Postgres.

Snowflake and BigQuery have the descriptions of the columns, and their layout, from dlt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dlt
from dlt.common import logger
from dlt.common.pipeline import LoadInfo
from dlt.common.schema.typing import TTableSchema
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.sql_client import SqlClientBase

from ..tables.schema import PHONE_RESULTS
from .session import DUCKDB, POSTGRES

INDEXED = {PHONE_RESULTS.name: "batch_id"}
"""What a batch is replaced by, and found by. By its hash: a B-tree refuses an id of more than 2,700 bytes."""


def comment_tables(pipeline: dlt.Pipeline, info: LoadInfo) -> int:
    """Comment and index the tables that the load has made or altered; return the number of statements.

    A run that changes no table takes none. A database that refuses is named in the log: the rows are loaded.
    """
    kind = str(pipeline.destination.destination_type)
    if kind not in (DUCKDB, POSTGRES):
        return 0
    count = 0
    for package in info.load_packages:
        if changed := [name for name in package.schema_update if not name.startswith("_dlt")]:
            tables = pipeline.schemas[package.schema_name].tables
            with pipeline.sql_client(package.schema_name) as client:
                count += comment_changed(kind, client, {name: tables[name] for name in changed})
    return count


def comment_changed(kind: str, client: SqlClientBase[Any], tables: Mapping[str, TTableSchema]) -> int:
    """Comment and index tables that were created or altered, of dlt's `kind` of destination; return the statements."""
    if kind not in (DUCKDB, POSTGRES):
        return 0
    statements = [sql for name, table in tables.items() for sql in _comments(client, name, table)]
    if kind == POSTGRES:
        statements += [sql for name in tables for sql in _indexes(client, name)]
    try:
        client.execute_many(statements)
    except DatabaseException as error:
        logger.warning(f"tables are without their comments: {error}")
        return 0
    return len(statements)


def _comments(client: SqlClientBase[Any], name: str, table: TTableSchema) -> Iterator[str]:
    # As literals: statements of this kind take no parameters.
    table_name, literal = client.make_qualified_table_name(name), client.capabilities.escape_literal
    if "description" in table:
        yield f"COMMENT ON TABLE {table_name} IS {literal(table['description'])};"
    for column_name, column in table["columns"].items():
        if "description" in column and "data_type" in column:
            message = literal(column["description"])
            yield f"COMMENT ON COLUMN {table_name}.{client.escape_column_name(column_name)} IS {message};"


def _indexes(client: SqlClientBase[Any], name: str) -> Iterator[str]:
    if column := INDEXED.get(name):
        index = client.escape_column_name(f"{name}_{column}")
        table_name = client.make_qualified_table_name(name)
        yield f"CREATE INDEX IF NOT EXISTS {index} ON {table_name} USING hash ({client.escape_column_name(column)});"
