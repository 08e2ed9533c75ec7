"""What the resources of the source yield: the rows of a chunk, each for its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import dlt
from dlt.extract import with_file_import
from dlt.extract.items import DataItemWithMeta

from .destination.ledger import LEDGER_TABLES
from .destination.session import Session, add_metrics, first_selected
from .fetch.results import Chunk
from .lazy import pa
from .tables.rows import RowContext, deferred_batch_ids_table, joined
from .tables.schema import DEFERRED_BATCH_IDS, Table, personal_marks

Item = TypeVar("Item")


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
        file.path.unlink()  # dlt has linked or copied it


def _with_marks(results: pa.Table) -> pa.Table | DataItemWithMeta:
    """Mark the columns that hold what an undocumented field says of a person."""
    marks = personal_marks(results.column_names)
    return dlt.mark.with_hints(results, dlt.mark.make_hints(columns=marks)) if marks else results


def summary_of(chunk: Chunk, table: Table) -> Iterator[DataItemWithMeta]:
    """Record the counts of the run with each resource; yield the deferred ids with the first one that is selected."""
    if chunk.counts is not None:
        add_metrics(chunk.counts.as_metrics())
    if chunk.deferred and table.name == first_selected(LEDGER_TABLES):
        rows = deferred_batch_ids_table(chunk.deferred, datetime.now(UTC), chunk.context)
        yield route_to_table(rows, DEFERRED_BATCH_IDS, table.name)


def route_to_table(rows: pa.Table, table: Table, of_resource: str) -> DataItemWithMeta:
    """Route rows to another table of a resource; what the caller changed of the resource holds for both."""
    resource = Session.current().resources[of_resource]
    schema = resource.compute_table_schema()
    hints = dlt.mark.make_hints(
        table.name,
        write_disposition="replace" if resource.write_disposition == "replace" else "merge",
        table_format=schema.get("table_format"),
        file_format=schema.get("file_format"),
    )
    return dlt.mark.with_hints(rows, hints, create_table_variant=True)
