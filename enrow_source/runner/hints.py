"""What a person can do about a failed run, where the error of a driver does not say it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import dlt
from dlt.common.schema import Schema
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract.exceptions import ResourceExtractionError

from .causes import causes


def add_hints(pipeline: dlt.Pipeline, error: BaseException) -> None:
    """Add notes to the error of a run that has failed: which option it comes from, what the destination lacks."""
    if (option := _option_of(error)) is not None:
        error.add_note(f"this was raised while {option} was read")
    if any("extension" in str(cause).lower() and "delta" in str(cause).lower() for cause in causes(error)):
        error.add_note(
            "reading Delta tables takes DuckDB's extension delta, which DuckDB downloads once: run INSTALL delta where"
            " there is internet, and copy ~/.duckdb/extensions from there"
        )
    if any(isinstance(cause, DatabaseException) for cause in causes(error)):
        try:
            notes = list(_missing(pipeline))
        except Exception:  # noqa: BLE001 - the destination may not answer; the error that ended the run is shown
            return
        for note in notes:
            error.add_note(note)


def _option_of(error: BaseException) -> str | None:
    """Return the option whose resource of ids raised."""
    for cause in causes(error):
        if isinstance(cause, ResourceExtractionError):
            for kind, option in (("rows", "batch_ids_query"), ("files", "batch_ids_file")):
                if cause.pipe_name.startswith(f"batch_ids_{kind}_"):
                    return option
    return None


def _missing(pipeline: dlt.Pipeline) -> Iterator[str]:
    """Compare what dlt believes is in the destination with what is there."""
    with pipeline.destination_client() as client:
        if not isinstance(client, SqlJobClientBase):
            return
        stored = client.get_stored_schema(client.schema.name)
        tables = Schema.from_stored_schema(json.loads(stored.schema)).data_tables()
        sql, names = client.sql_client, [str(table["name"]) for table in tables]
        there = dict(client.get_storage_tables(names))
        for table_name, table in zip(names, tables, strict=True):
            name = sql.make_qualified_table_name(table_name)
            if not there.get(table_name):
                version = sql.make_qualified_table_name(client.schema.version_table_name)
                remedy = f"DELETE FROM {version}"  # noqa: S608 - a text for a person
                remake = f"rename it back, or have the next run make it again, empty: {remedy}"
                yield f"the destination has no table {name} any more: {remake}"
                continue
            columns = {column.lower() for column in there[table_name]}
            for column_name, column in table["columns"].items():
                if "data_type" in column and column_name.lower() not in columns:
                    (alter,) = client._make_add_column_sql([column])  # noqa: SLF001 - the type as dlt makes it
                    yield (
                        f"the table {name} has no column {column_name} any more: rename it back, or add it again:"
                        f" ALTER TABLE {name} {alter.removesuffix(' NOT NULL')}"
                    )
