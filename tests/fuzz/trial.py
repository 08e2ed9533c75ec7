"""One answer through the parser and the table builders, and what has to hold of what they make."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.normalizers.naming.snake_case import NamingConvention

from enrow_source.api.models import BatchStatus
from enrow_source.api.parser import parse_batch
from enrow_source.errors import InvalidResponseError
from enrow_source.settings import UNDECLARED_COLUMNS
from enrow_source.tables.rows import (
    FetchedBatch,
    RowContext,
    batch_errors_table,
    batch_stats_table,
    batches_table,
    joined,
    phone_results_ledger_table,
    phone_results_table,
)
from enrow_source.tables.schema import BATCH_STATS, BATCHES, PHONE_RESULTS, PHONE_RESULTS_LEDGER
from enrow_source.tables.undocumented_columns import ColumnNames, NameRules

from .inputs import BATCH_ID

_AT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_MESSAGE_CHARS: Final = 400
_OVERFLOWS: Final = ("overflow", "params__overflow")
_normalize: Final = NamingConvention().normalize_path


class WrongRowsError(Exception):
    """The rows are not what the answer says, or no destination could take them."""


def error_of(body: bytes) -> str | None:
    """Make rows of `body`, check them, and return None; or return the message of its one error.

    Raises:
        WrongRowsError: The rows, or the message, cannot be right.
        Exception: What the parser and the builders let out; they should let nothing out.
    """
    context = RowContext("1", ColumnNames(NameRules(_normalize), {}, UNDECLARED_COLUMNS))
    try:
        batch = parse_batch(BATCH_ID, body)
    except InvalidResponseError as error:
        expect(len(error.message) <= _MESSAGE_CHARS, "a message that is too long")
        _check(batch_errors_table([(BATCH_ID, error, _AT)], context), rows=1)
        return error.message
    results = phone_results_table(batch, _AT, context)
    _check(batches_table([FetchedBatch(batch, _AT)], context), rows=1, documented=len(BATCHES.columns))
    _check(batch_stats_table([FetchedBatch(batch, _AT)], context), rows=1, documented=len(BATCH_STATS.columns))
    _check(
        phone_results_ledger_table([FetchedBatch(batch, _AT)], context),
        rows=1,
        documented=len(PHONE_RESULTS_LEDGER.columns),
    )
    _check(results, rows=_results_of(body), documented=len(PHONE_RESULTS.columns))
    _check(joined([results, results.slice(0, 0), results]), rows=2 * results.num_rows)
    return None


def _results_of(body: bytes) -> int:
    """Count the results of a batch that is complete, with the parser of the standard library."""
    # Integers past 4,300 digits are more than it takes.
    answer: dict[str, Any] = json.loads(body, parse_int=str)
    is_completed = answer["general"]["status"] == BatchStatus.COMPLETED
    return len(answer.get("results") or ()) if is_completed else 0


def _check(table: pa.Table, *, rows: int, documented: int | None = None) -> None:
    table.validate(full=True)
    expect(table.num_rows == rows, f"{table.num_rows} rows instead of {rows}")
    names = table.column_names
    expect(len({*names}) == len(names), "two columns of one name")
    expect(all(name == _normalize(name) for name in names), "a name that dlt would change")
    if documented is not None:
        expect(len({*names} - {*_OVERFLOWS}) <= documented + UNDECLARED_COLUMNS, "more columns than the limit")
    for field in table.schema:
        column = table.column(field.name)
        expect(field.nullable or column.null_count == 0, f"null in {field.name}")
        if pa.types.is_string(field.type):
            expect(not pc.any(pc.match_substring(column, "\0")).as_py(), f"NUL in {field.name}")
        if field.name in _OVERFLOWS:
            for text in column.drop_null().to_pylist():
                expect(all(isinstance(value, str) for value in json.loads(text).values()), "an overflow of no text")


def expect(holds: bool, otherwise: str) -> None:
    """Raise WrongRowsError unless it holds."""
    if not holds:
        raise WrongRowsError(otherwise)
