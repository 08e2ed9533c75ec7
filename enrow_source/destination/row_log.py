"""Appends one row to a table that grows by a row a run: one INSERT, without a load."""

from __future__ import annotations

from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema.typing import TColumnSchema
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract import DltResource

from ..lazy import pa
from ..tables.schema import Table
from .comments import comment_tables


def append_row(pipeline: dlt.Pipeline, table: Table, row: Mapping[str, Any], *, creates: bool = True) -> bool:
    """Append a row; tell whether it was.

    Where there is no table yet, or the destination is files, dlt loads the row.

    Args:
        pipeline: Names destination and dataset; keeps its schema and its state.
        table: Declared; it is alone in a schema of its own name, so that no `refresh` of the source drops it.
        row: Its columns, each a value or None.
        creates: Whether a table that is not there is created; else nothing is written.
    """
    if _is_inserted(pipeline, table.name, row):
        return True
    if creates:
        _load(pipeline, table, row)
    return creates


def _is_inserted(pipeline: dlt.Pipeline, name: str, row: Mapping[str, Any]) -> bool:
    if not isinstance(pipeline.destination_client(), SqlJobClientBase):
        return False
    # NULL is written out: a parameter without a type is one that BigQuery refuses.
    values = ", ".join("NULL" if value is None else "%s" for value in row.values())
    with pipeline.sql_client() as client:
        columns = ", ".join(map(client.escape_column_name, row))
        table = client.make_qualified_table_name(name)
        try:
            client.execute_sql(
                f"INSERT INTO {table} ({columns}) VALUES ({values})",  # noqa: S608 - escaped names
                *(value for value in row.values() if value is not None),
            )
        except DestinationUndefinedEntity:
            return False
    return True


def _load(pipeline: dlt.Pipeline, table: Table, row: Mapping[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        try:
            appending = dlt.pipeline(
                table.name,
                destination=pipeline.destination,
                staging=pipeline.staging,
                dataset_name=pipeline.dataset_name,
                pipelines_dir=folder,
            )
            comment_tables(appending, appending.run(_resource(table, row), schema=dlt.Schema(table.name)))
        finally:
            pipeline.activate()


def _resource(table: Table, row: Mapping[str, Any]) -> DltResource:
    columns: list[TColumnSchema] = [column.hints for column in table.columns]
    # Arrow, so that the table gets no columns of dlt's, which an INSERT would have to fill.
    found = pa.Table.from_pylist([dict(row)], schema=table.arrow)
    resource: DltResource = dlt.resource([found], name=table.name, columns=columns, write_disposition="append")
    return resource.apply_hints(additional_table_hints={"description": table.description})
