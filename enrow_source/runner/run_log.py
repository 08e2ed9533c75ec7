"""The table `enrow_runs`: a row for each run, so that whether it is healthy is a question to SQL."""

from __future__ import annotations

import platform
import uuid
from importlib.metadata import PackageNotFoundError, version
from tempfile import TemporaryDirectory
from typing import Any, Final

import dlt
from dlt.common import logger
from dlt.common.data_types import TDataType
from dlt.common.schema.typing import TColumnSchema
from dlt.destinations.exceptions import DatabaseException, DatabaseTerminalException
from dlt.extract import DltResource
from dlt.pipeline.exceptions import PipelineStepFailed

from ..destination.session import FILESYSTEM
from ..tables.schema import PHONE_RESULTS, RUNS
from .report import RunReport

SNOWFLAKE: Final = "dlt.destinations.snowflake"

_COLUMNS: Final[dict[str, tuple[TDataType, str]]] = {
    "run_id": ("text", "A name of its own for each run."),
    "started_at": ("timestamp", "When it began, UTC."),
    "ended_at": ("timestamp", "When it ended, UTC."),
    "trigger": ("text", "Who started it, as `--trigger` said."),
    "outcome": ("text", "How it ended, the name of the exit code in lower case: `ok`, `failed`, `partial`, ..."),
    "exit_code": ("bigint", "The same as a number: the exit code of the command."),
    "reasons": ("text", "All that was not as it should be, the gravest first: `stuck, partial`; null for `ok`."),
    "error": ("text", "Kind and step of what ended it; null where nothing did. The message is in the log."),
    "stop_reason": ("text", "Why it stopped early: `stopped`, `deadline`, `api_unavailable`; null where it did not."),
    "fetched": ("bigint", "Batches that were fetched."),
    "completed": ("bigint", "Of these, completed."),
    "ongoing": ("bigint", "Of these, still ongoing."),
    "failed": ("bigint", "Of these, reported as failed."),
    "other": ("bigint", "Of these, with a status that nobody has documented."),
    "unreadable": ("bigint", "Of these, not readable: they are in `batch_errors`."),
    "incomplete": ("bigint", "Batches that were loaded without a value that was invalid: see `batch_errors`."),
    "stuck": ("bigint", "Batches that had been pending for longer than `stuck_after_h`."),
    "invalid_ids": ("bigint", "Ids, and files of ids, that could not be read."),
    "skipped_events": ("bigint", "Webhook events of other products among the ids."),
    "given_up": ("bigint", "Deferred ids that the run gave up: the API did not know them, too often."),
    "rows_loaded": ("bigint", "Rows in all tables."),
    "phone_results_rows": ("bigint", "Rows in `phone_results`."),
    "requests": ("bigint", "GETs, also those that were tried again."),
    "retries": ("bigint", "Those of them that repeated another one."),
    "bytes_received": ("bigint", "Bytes of answers, as they came: packed."),
    "extract_s": ("double", "Seconds of reading ids, ledger and API; null where it did not get there."),
    "normalize_s": ("double", "Seconds of normalizing."),
    "load_s": ("double", "Seconds of loading."),
    "total_s": ("double", "Seconds in all."),
    "load_id": ("text", "The load that brought the rows; joins `_dlt_loads`. Null where there were none."),
    "enrow_source_version": ("text", "Version of this source."),
    "dlt_version": ("text", "Version of dlt."),
    "python_version": ("text", "Version of Python."),
}


def append(pipeline: dlt.Pipeline, report: RunReport) -> str:
    """Write the row of a run that has ended, and return its id; where that fails, the log tells.

    One INSERT, without a load. Where the destination is files, dlt loads the row; and where the INSERT does not fit,
    since there is no table yet, or one of an earlier version, or one that somebody has altered: dlt makes what is
    missing. A table that takes the row in no way is renamed, and a new one begins.
    """
    row = _row(report)
    try:
        if pipeline.destination.destination_type == FILESYSTEM:
            _load(pipeline, row, repairs=False)
        else:
            _insert_or_repair(pipeline, row)
    except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
        message = " ".join(str(error).split())
        logger.warning(f"no row in {RUNS} for this run: {type(error).__name__}: {message:.200}")
    return str(row["run_id"])


def _insert_or_repair(pipeline: dlt.Pipeline, row: dict[str, Any]) -> None:
    try:
        _insert(pipeline, row)
    except DatabaseException as error:
        _repair(pipeline, row, may_rename=isinstance(error, DatabaseTerminalException))


def _insert(pipeline: dlt.Pipeline, row: dict[str, Any]) -> None:
    with pipeline.sql_client() as client:
        names = ", ".join(client.escape_column_name(client.capabilities.casefold_identifier(name)) for name in row)
        values = ", ".join(["%s"] * len(row))
        table = client.make_qualified_table_name(RUNS)
        client.execute_sql(f"INSERT INTO {table} ({names}) VALUES ({values})", *row.values())  # noqa: S608 - escaped names


def _repair(pipeline: dlt.Pipeline, row: dict[str, Any], *, may_rename: bool) -> None:
    try:
        _load(pipeline, row, repairs=True)
    except PipelineStepFailed:
        if not may_rename:
            raise
        kept = f"{RUNS}_{row['started_at']:%Y%m%d_%H%M%S}"
        with pipeline.sql_client() as client:
            table = client.make_qualified_table_name(RUNS)
            # Snowflake alone takes a bare name for one of another schema.
            is_bare = pipeline.destination.destination_type != SNOWFLAKE
            new = client.escape_column_name(kept) if is_bare else client.make_qualified_table_name(kept)
            client.execute_sql(f"ALTER TABLE {table} RENAME TO {new}")
        logger.warning(f"{RUNS} did not take the row of this run: it is {kept} now, and a new {RUNS} begins")
        _load(pipeline, row, repairs=True)


def _load(pipeline: dlt.Pipeline, row: dict[str, Any], *, repairs: bool) -> None:
    """Load the row with a pipeline of its own, so that the one of the source keeps its schema and its state."""
    with TemporaryDirectory() as folder:
        try:
            dlt.pipeline(
                RUNS,
                destination=pipeline.destination,
                staging=pipeline.staging,
                dataset_name=pipeline.dataset_name,
                pipelines_dir=folder,
            ).run(_runs(row, repairs=repairs))
        finally:
            pipeline.activate()


@dlt.source(name=RUNS)
def _runs(row: dict[str, Any], *, repairs: bool) -> DltResource:
    columns: list[TColumnSchema] = [
        {"name": name, "data_type": kind, "description": description, "nullable": name != "run_id"}
        for name, (kind, description) in _COLUMNS.items()
    ]
    import pyarrow as pa  # noqa: PLC0415 - an INSERT does without

    arrow: dict[TDataType, pa.DataType] = {
        "text": pa.string(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }
    # Arrow, so that the table gets no columns of dlt's, which an INSERT would have to fill.
    fields = [pa.field(name, arrow[kind], nullable=name != "run_id") for name, (kind, _) in _COLUMNS.items()]
    rows = pa.Table.from_pylist([row], schema=pa.schema(fields))
    resource: DltResource = dlt.resource([rows], name=RUNS, columns=columns, write_disposition="append")
    # dlt compares a table with the destination only where its schema is not stored there yet.
    hints = {"x-made-again-by": str(uuid.uuid4())} if repairs else {}
    return resource.apply_hints(additional_table_hints={"description": "One row for a run that has begun.", **hints})


def _row(report: RunReport) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(report, name) for name in _COLUMNS if hasattr(report, name)}
    return {
        "run_id": str(uuid.uuid4()),
        **row,
        "outcome": report.exit_code.name.lower(),
        "exit_code": int(report.exit_code),
        "reasons": ", ".join(code.name.lower() for code in report.reasons) or None,
        "rows_loaded": sum(report.rows.values()),
        "phone_results_rows": report.rows.get(PHONE_RESULTS.name, 0),
        **{f"{step}_s": report.step_s.get(step) for step in ("extract", "normalize", "load")},
        "total_s": report.duration_s,
        "enrow_source_version": own_version(),
        "dlt_version": dlt.__version__,
        "python_version": platform.python_version(),
    }


def own_version() -> str:
    """Return the version of this package; `vendored` where the folder is part of another repository."""
    try:
        return version("enrow-source")
    except PackageNotFoundError:
        return "vendored"  # a team may carry the folder in its own repository
