"""The table `enrow_runs`: a row for each run, so that whether it is healthy is a question to SQL."""

from __future__ import annotations

import platform
from collections.abc import Collection
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import dlt

from ..destination.row_log import Row, log_table
from ..tables.schema import PHONE_RESULTS, RUNS, DataType
from .report import RunReport

_COLUMNS: Final[dict[str, tuple[DataType, str]]] = {
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
    "submissions_in_doubt": (
        "bigint",
        "Submissions that their batches contradict: they are `unknown` again, or became two batches.",
    ),
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

ENROW_RUNS: Final = log_table(RUNS, "One row for a run that has begun.", _COLUMNS)


def run_row(report: RunReport, run_id: str) -> Row:
    """Return the row of a run that has ended."""
    row: dict[str, Any] = {name: getattr(report, name) for name in _COLUMNS if hasattr(report, name)}
    return ENROW_RUNS, {
        "run_id": run_id,
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


def fail_without_row(report: RunReport, unwritten: Collection[str]) -> RunReport:
    """Return the report, failed where its row could not be written: to SQL the run looks as if it never was."""
    if RUNS not in unwritten or report.error is not None:
        return report
    return replace(report, error=f"no row in {RUNS}")


def own_version() -> str:
    """Return the version of this package; `vendored` where the folder is part of another repository."""
    try:
        return version("enrow-source")
    except PackageNotFoundError:
        return "vendored"  # a team may carry the folder in its own repository
