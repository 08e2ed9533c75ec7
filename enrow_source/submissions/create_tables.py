"""Creates the tables of submissions, under a schema of their own: what drops the tables of the source leaves them."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Final

import dlt
from dlt.extract import DltResource

from ..destination.comments import comment_tables
from ..tables.schema import SUBMISSION_TABLES

SCHEMA: Final = "enrow_submissions"


def create_tables(pipeline: dlt.Pipeline) -> None:
    """Create the tables, with a pipeline of its own: the given one keeps its schema and its state."""
    with TemporaryDirectory() as folder:
        try:
            creating = dlt.pipeline(
                SCHEMA,
                destination=pipeline.destination,
                staging=pipeline.staging,
                dataset_name=pipeline.dataset_name,
                pipelines_dir=folder,
            )
            comment_tables(creating, creating.run(_tables()))
        finally:
            pipeline.activate()


@dlt.source(name=SCHEMA)
def _tables() -> Iterator[DltResource]:
    for table in SUBMISSION_TABLES:
        # Arrow, so that the tables get no columns of dlt's, which an INSERT would have to fill.
        resource: DltResource = dlt.resource(
            [table.arrow.empty_table()],
            name=table.name,
            columns={column.name: column.hints for column in table.columns},
            write_disposition="append",
        )
        yield resource.apply_hints(additional_table_hints={"description": table.description})
