"""The tables of submissions: under a schema of their own, so that nothing that drops the tables of the source drops them."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Final

import dlt
from dlt.extract import DltResource

from ..tables import Column, Table

SCHEMA: Final = "enrow_submissions"

_SUBMISSION_ID: Final = Column(
    "submission_id", "text", "Our id of it, which `general.custom` of its batch carries.", nullable=False
)
SUBMISSIONS: Final = Table(
    "submissions",
    "One row for a batch that was submitted, or was about to be.",
    ("submission_id",),
    (
        _SUBMISSION_ID,
        Column("state", "text", "`intended`, `accepted`, `refused`, `unknown` or `cancelled`.", nullable=False),
        Column("batch_id", "text", "The API's id of the batch; null where none is known."),
        Column("searches", "bigint", "Searches in it.", nullable=False),
        Column("credits_reserved", "decimal", "Credits that were reckoned for all of its searches.", nullable=False),
        Column(
            "credits_held", "decimal", "Credits that the API held when it accepted, as it told; null where it did not."
        ),
        Column("campaign", "text", "The campaign that it was submitted for."),
        Column("http_status", "bigint", "Status of the answer to the POST; null where there was none."),
        Column("message", "text", "The API's words, or what is known of it."),
        Column("created_at", "timestamp", "When the intent was committed, UTC.", nullable=False),
        Column("ended_at", "timestamp", "When it was known what became of it, UTC; null while it is not."),
    ),
)
SUBMITTED_SEARCHES: Final = Table(
    "submitted_searches",
    "One row for a search of a submission.",
    ("submission_id", "index"),
    (
        _SUBMISSION_ID,
        Column("index", "bigint", "Position in the submitted array, from 0; joins `phone_results`.", nullable=False),
        Column(
            "person_key",
            "text",
            "What stands for the person, equal for all spellings; a keyed hash unless `pii` is `keep`.",
            nullable=False,
            is_personal=True,
        ),
        Column("custom", "text", "The submitter's own reference of the row.", is_personal=True),
    ),
)
SUBMISSION_LEASE: Final = Table(
    "submission_lease",
    "The one row that a submitter holds while it submits.",
    (),
    (
        Column("holder", "text", "Who holds it: host, process and a number; empty for nobody.", nullable=False),
        Column("held_until", "timestamp", "When another one may take it, UTC.", nullable=False),
    ),
)
TABLES: Final = (SUBMISSIONS, SUBMITTED_SEARCHES, SUBMISSION_LEASE)


def create_tables(pipeline: dlt.Pipeline) -> None:
    """Create the tables at the destination, with a pipeline of its own: the given one keeps its schema and its state."""
    with TemporaryDirectory() as folder:
        try:
            dlt.pipeline(
                SCHEMA,
                destination=pipeline.destination,
                staging=pipeline.staging,
                dataset_name=pipeline.dataset_name,
                pipelines_dir=folder,
            ).run(_tables())
        finally:
            pipeline.activate()


@dlt.source(name=SCHEMA)
def _tables() -> Iterator[DltResource]:
    for table in TABLES:
        # Arrow, so that the tables get no columns of dlt's, which an INSERT would have to fill.
        resource: DltResource = dlt.resource(
            [table.arrow.empty_table()],
            name=table.name,
            columns={column.name: column.hints for column in table.columns},
            write_disposition="append",
        )
        yield resource.apply_hints(additional_table_hints={"description": table.description})
