"""The tables of submissions, created under a schema of their own: what drops the tables of the source leaves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from tempfile import TemporaryDirectory
from typing import Final

import dlt
from dlt.extract import DltResource

from ..destination.comments import comment_tables
from ..tables.schema import SUBMISSION_TABLES, Column, DataType, Table
from .plan import LeftOut

SCHEMA: Final = "enrow_submissions"

_LEFT_OUT: Final[Mapping[LeftOut, str]] = {
    LeftOut.INVALID: "Rows left out because they cannot be searched.",
    LeftOut.REPEATED: "Rows left out because the same person stands in an earlier one.",
    LeftOut.ERASED: "Rows left out because the person was erased.",
    LeftOut.IN_SUBMISSION: "Rows left out because the person is in a submission that is not over.",
    LeftOut.FOUND: "Rows left out because the number was found already.",
    LeftOut.NOT_FOUND: "Rows left out because the person was searched and not found, not long ago.",
    LeftOut.BEYOND_LIMIT: "Rows left out because `--limit` other people come first.",
}
_COLUMNS: Final[dict[str, tuple[DataType, str]]] = {
    "submit_id": ("text", "A name of its own for each run; joins `account_credits`."),
    "started_at": ("timestamp", "When it began to submit, UTC: its input was read by then."),
    "ended_at": ("timestamp", "When it ended, UTC."),
    "campaign": ("text", "The campaign that it submitted for."),
    "outcome": ("text", "How it ended, the name of the exit code in lower case: `ok`, `failed`, `partial`, ..."),
    "exit_code": ("bigint", "The same as a number: the exit code of the command."),
    "error": ("text", "Kind of the error that ended it; null where none did."),
    "rows_read": ("bigint", "Rows read: those that were left out, and `searches`."),
    **{f"left_out_{reason.value}": ("bigint", text) for reason, text in _LEFT_OUT.items()},
    "searches": ("bigint", "Rows to be submitted. Null, as what is left out, where the run ended before it knew."),
    "searches_accepted": ("bigint", "Searches that the API accepted."),
    "searches_unknown": ("bigint", "Searches of which it is not known whether the API accepted them."),
    "credits_held": ("decimal", "Credits that the API holds for what it accepted."),
}

SUBMIT_RUNS: Final = Table(
    "submit_runs",
    "One row for a run of `enrow submit` that has begun, also where it submitted nothing; none for a dry run.",
    (),
    tuple(Column(name, kind, text, nullable=name != "submit_id") for name, (kind, text) in _COLUMNS.items()),
)

TABLES: Final = (*SUBMISSION_TABLES, SUBMIT_RUNS)


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
    for table in TABLES:
        # Arrow, so that the tables get no columns of dlt's, which an INSERT would have to fill.
        resource: DltResource = dlt.resource(
            [table.arrow.empty_table()],
            name=table.name,
            columns={column.name: column.hints for column in table.columns},
            write_disposition="append",
        )
        yield resource.apply_hints(additional_table_hints={"description": table.description})
