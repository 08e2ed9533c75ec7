"""The resources of the source: their tables, and the rows of a chunk for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import dlt
from dlt.extract import DltResource, with_file_import
from dlt.extract.items import DataItemWithMeta

from .destination.session import Session, add_metrics, selected_resources
from .fetch.results import Chunk
from .lazy import pa
from .tables.rows import RowContext, batch_errors_table, deferred_batch_ids_table, joined
from .tables.schema import (
    BATCH_ERRORS,
    BATCH_STATS,
    BATCHES,
    DEFERRED_BATCH_IDS,
    LEDGER_TABLES,
    PHONE_RESULTS,
    PHONE_RESULTS_LEDGER,
    Table,
    personal_marks,
)

Item = TypeVar("Item")

_TABLES: Final = {table.name: table for table in (BATCHES, BATCH_STATS, PHONE_RESULTS, BATCH_ERRORS)}
"""The table that each resource is named after."""


def declare_tables(resources: Sequence[DltResource], contract: Mapping[str, Any]) -> Sequence[DltResource]:
    """Declare the tables of each resource: the one of its name, under the contract, and those it routes rows to."""
    for resource in resources:
        others = () if resource.name == BATCH_ERRORS.name else (DEFERRED_BATCH_IDS, BATCH_ERRORS)
        # Before its own columns, which a variant would take over.
        for table in (PHONE_RESULTS_LEDGER, *others) if resource.name == PHONE_RESULTS.name else others:
            resource.apply_hints(table_name=table.name, create_table_variant=True, **table.hints)
        resource.apply_hints(**_TABLES[resource.name].hints, **contract)
    return resources


def rows_of(
    chunk: Chunk, of: Sequence[Item], make: Callable[[Sequence[Item], RowContext], pa.Table]
) -> Iterator[pa.Table]:
    """Make rows where there is something to make them of, or where the table is to be created."""
    if of or chunk.creates_tables:
        yield make(of, chunk.context)


def results_of(chunk: Chunk) -> Iterator[pa.Table | DataItemWithMeta]:
    """Yield the rows of `phone_results`, and files of them."""
    for rows in rows_of(chunk, chunk.results, lambda results, _: joined(results)):
        yield _with_marks(rows)
    for file in chunk.files:
        if personal_marks(file.schema.names):
            yield _with_marks(file.schema.empty_table())
        yield with_file_import(str(file.path), "parquet", file.rows, file.schema.empty_table())
        file.remove()  # dlt has linked or copied it


def _with_marks(results: pa.Table) -> pa.Table | DataItemWithMeta:
    """Mark the columns that hold what an undocumented field says of a person."""
    marks = personal_marks(results.column_names)
    return dlt.mark.with_hints(results, dlt.mark.make_hints(columns=marks)) if marks else results


def summary_of(chunk: Chunk, table: Table) -> Iterator[DataItemWithMeta]:
    """Record the counts of the run with each resource; with the first one, yield what every run has to keep.

    Those are deferred ids, and errors also where `batch_errors` is not selected: who failed is fetched last.
    """
    if chunk.counts is not None:
        add_metrics(chunk.counts.as_metrics())
    resources = selected_resources()
    if table.name != next((name for name in LEDGER_TABLES if name in resources), None):
        return
    if chunk.errors and BATCH_ERRORS.name not in resources:
        yield route_to_table(batch_errors_table(chunk.errors, chunk.context), BATCH_ERRORS, table.name)
    if chunk.deferred:
        rows = deferred_batch_ids_table(chunk.deferred, chunk.context)
        yield route_to_table(rows, DEFERRED_BATCH_IDS, table.name)


def route_to_table(rows: pa.Table, table: Table, of_resource: str, *, appends: bool = False) -> DataItemWithMeta:
    """Route rows to another table of a resource; what the caller changed of the resource holds for both."""
    session = Session.current()
    resource = session.resources[of_resource]
    schema = resource.compute_table_schema()
    contract = session.schema.resolve_contract_settings_for_table(of_resource, schema)
    tables = contract["tables"] if table is PHONE_RESULTS_LEDGER else "evolve"
    hints = dlt.mark.make_hints(
        table.name,
        write_disposition="replace" if resource.write_disposition == "replace" else "append" if appends else "merge",
        table_format=schema.get("table_format"),
        file_format=schema.get("file_format"),
        # Of the source's own tables alone: the ledger is as new as the table that it is of, and what was deferred has
        # to be kept whatever the user lets in.
        schema_contract={"tables": tables, "columns": "evolve", "data_type": "evolve"},
    )
    return dlt.mark.with_hints(rows, hints, create_table_variant=True)
