"""Arrow rows of the tables, made from parsed batches. Pure: no dlt run, no HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..api.models import Batch, Results
from ..api.strict import PARAMS, RESULT_FIELDS
from ..errors import ErrorKind
from ..lazy import pa, pc
from .privacy import Privacy
from .schema import (
    BATCH_ERRORS,
    BATCH_STATS,
    BATCHES,
    DEFERRED_BATCH_IDS,
    PHONE_RESULTS,
    PHONE_RESULTS_LEDGER,
    Table,
    arrow_types,
)
from .undocumented_columns import (
    OVERFLOW_COLUMNS,
    ColumnNames,
    Level,
    add_undocumented_columns,
    undocumented_columns,
    with_undocumented,
)

if TYPE_CHECKING:
    from ..errors import BatchError


class FetchedBatch(NamedTuple):
    """A parsed batch."""

    batch: Batch
    fetched_at: datetime
    """When the API answered, UTC."""
    results_loaded: int = 0
    """Its rows in `phone_results`: without those of erased people, and none while it is not completed."""


class DeferredId(NamedTuple):
    """An id that later runs fetch, although no input may name it again."""

    batch_id: str
    deferred_at: datetime
    """When it was first deferred, UTC."""
    unknown_answers: int = 0
    """Fetches that the API answered with 'unknown or expired'."""
    given_up_at: datetime | None = None
    """When it was given up: later runs fetch it only where it is named."""


@dataclass(frozen=True, slots=True)
class RowContext:
    """What making rows takes besides the batch."""

    load_id: str
    """The load that brings the rows; it joins `_dlt_loads`."""
    names: ColumnNames
    privacy: Privacy = field(default_factory=Privacy)
    is_erased: Callable[[Mapping[str, pa.Array]], pa.Array] | None = None
    """Finds the rows of erased persons in the columns of `phone_results`; None where nobody was erased."""
    first_seen: Mapping[str, datetime] = field(default_factory=dict)
    """When a run first knew of a batch, for those that are fetched again."""
    appends_ledger: bool = False
    """Whether rows of `phone_results_ledger` are appended: the ledger has none of these batches."""


def batches_table(batches: Iterable[FetchedBatch], context: RowContext) -> pa.Table:
    """Make the rows of `batches`, one for each batch that its contract does not leave out."""
    rows: list[dict[str, Any]] = []
    for batch, fetched_at, _ in batches:
        levels = {"response": batch.undocumented_top, "general": batch.unknown}
        more = undocumented_columns(BATCHES, levels, context.names, context.privacy)
        if more is not None:
            row = {
                "batch_id": batch.batch_id,
                "status": batch.status,
                "custom": context.privacy.text(batch.custom, is_json=True),
                "first_seen_at": context.first_seen.get(batch.batch_id, fetched_at),
                "fetched_at": fetched_at,
            }
            rows.append(row | more)
    return _table(BATCHES, rows, context)


def batch_stats_table(batches: Iterable[FetchedBatch], context: RowContext) -> pa.Table:
    """Make the rows of `batch_stats`, one for each batch that its contract does not leave out."""
    rows: list[dict[str, Any]] = []
    for batch, fetched_at, _ in batches:
        more = undocumented_columns(BATCH_STATS, {"stats": batch.stats.unknown}, context.names, context.privacy)
        if more is not None:
            row = {
                "batch_id": batch.batch_id,
                "status": batch.status,
                "requested": batch.stats.requested,
                "finished": batch.stats.finished,
                "found": batch.stats.found,
                "credits_cost": batch.stats.credits_cost,
                "credits_to_refund": batch.stats.credits_to_refund,
                "results_received": batch.results.count,
                "found_received": batch.results.found,
                "fetched_at": fetched_at,
            }
            rows.append(row | more)
    return _table(BATCH_STATS, rows, context)


def phone_results_table(batch: Batch, fetched_at: datetime, context: RowContext) -> pa.Table:
    """Make the rows of `phone_results` for one batch: one for each result, none while the batch is not completed."""
    results = batch.results if batch.is_completed else Results()
    values: dict[str, Any] = {
        "batch_id": pa.repeat(batch.batch_id, results.count),
        "index": results.index,
        **{name: results.fields.get(name, ()) for name in RESULT_FIELDS},
        **{f"params__{name}": results.params.get(name, ()) for name in PARAMS},
        "fetched_at": pa.repeat(pa.scalar(fetched_at, arrow_types()["timestamp"]), results.count),
        "_dlt_load_id": pa.repeat(context.load_id, results.count),
    }
    unknown: dict[str, list[str | None]] = {}
    result_level = Level("result", RESULT_FIELDS, results.fields, results.overflow_fields)
    params_level = Level("params", PARAMS, results.params, results.overflow_params)
    discarded: set[int] = set()
    for level in (result_level, params_level):
        discarded |= add_undocumented_columns(unknown, level, results.count, context.names, context.privacy)
    schema = with_undocumented(PHONE_RESULTS, unknown)
    columns = [pa.array((values | unknown)[field.name], field.type) for field in schema]
    if context.is_erased is not None or discarded:
        kept = pa.array([row not in discarded for row in range(results.count)], pa.bool_())
        if context.is_erased is not None:
            erased = context.is_erased(dict(zip(schema.names, columns, strict=True)))
            kept = pc.and_(kept, pc.invert(erased))
        columns = [column.filter(kept) for column in columns]
    for number, name in enumerate(schema.names):
        if name not in _TREATED:
            columns[number] = context.privacy.column(columns[number], is_json=name == "custom")
    return pa.table(columns, schema=schema)


_TREATED: Final = frozenset({c.name for c in PHONE_RESULTS.columns if not c.is_personal} | OVERFLOW_COLUMNS)
"""What is left as it is: nobody's, or treated when it was made."""


def joined(results: Iterable[pa.Table]) -> pa.Table:
    """Put the `phone_results` of many batches into one table; null where a batch has not a column."""
    return pa.concat_tables([PHONE_RESULTS.arrow.empty_table(), *results], promote_options="default")


def phone_results_ledger_table(batches: Iterable[FetchedBatch], context: RowContext) -> pa.Table:
    """Make the rows of `phone_results_ledger`, one for each batch."""
    rows = [
        {"batch_id": batch.batch_id, "status": batch.status, "results_loaded": loaded, "fetched_at": fetched_at}
        for batch, fetched_at, loaded in batches
    ]
    return _table(PHONE_RESULTS_LEDGER, rows, context)


def batch_errors_table(errors: Iterable[tuple[str, BatchError, datetime]], context: RowContext) -> pa.Table:
    """Make the rows of `batch_errors`, one for each id, what went wrong with it, and when."""
    rows = [
        {
            "batch_id": batch_id,
            "http_status": error.http_status,
            "kind": error.kind.value,
            "message": _message(error, context.privacy),
            "fetched_at": failed_at,
        }
        for batch_id, error, failed_at in errors
    ]
    return _table(BATCH_ERRORS, rows, context)


def _message(error: BatchError, privacy: Privacy) -> str:
    """Return what was wrong, without words of the API where personal data is hidden: they may quote what was sent."""
    if not privacy.hides or error.kind in OWN_WORDS:
        return error.message
    return f"HTTP {error.http_status}; what the API says of it is left out, since pii is {privacy.mode.value}"


OWN_WORDS: Final = frozenset(
    {ErrorKind.CONNECTION, ErrorKind.INVALID_RESPONSE, ErrorKind.NOT_ANSWERED, ErrorKind.REDIRECT, ErrorKind.TOO_LARGE}
)
"""Errors whose messages are the source's alone."""


def deferred_batch_ids_table(deferred: Iterable[DeferredId], context: RowContext) -> pa.Table:
    """Make the rows of `deferred_batch_ids`, one for each id."""
    return _table(DEFERRED_BATCH_IDS, [one._asdict() for one in deferred], context)


def _table(table: Table, rows: list[dict[str, Any]], context: RowContext) -> pa.Table:
    for row in rows:
        row["_dlt_load_id"] = context.load_id
    unknown = {name for row in rows for name in row} - table.names
    return pa.Table.from_pylist(rows, schema=with_undocumented(table, unknown))
