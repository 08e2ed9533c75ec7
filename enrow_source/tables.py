"""The tables: their declared columns, and Arrow rows of them made from parsed batches. Pure: no dlt run, no HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

from .arrow import pa, pc
from .models import PARAMS, RESULT_FIELDS, Batch, Results
from .privacy import Privacy
from .settings import CREDITS_PRECISION, CREDITS_SCALE

if TYPE_CHECKING:
    from dlt.common.schema.typing import TColumnSchema

    from .errors import BatchError

DataType = Literal["text", "bigint", "decimal", "timestamp"]


@cache
def _arrow_types() -> Mapping[DataType, pa.DataType]:
    return {
        "text": pa.string(),
        "bigint": pa.int64(),
        "decimal": pa.decimal128(CREDITS_PRECISION, CREDITS_SCALE),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }


_PERSONAL: Final = "x-personal-data"
"""Marks a column in the schema of the pipeline."""


@dataclass(frozen=True, slots=True)
class Column:
    """A declared column."""

    name: str
    data_type: DataType
    description: str
    nullable: bool = True
    is_personal: bool = False
    is_json: bool = False
    layout: tuple[str, ...] = ()
    """dlt's hints for how a destination lays the rows out."""

    @property
    def arrow(self) -> pa.Field:
        """The column as a field of an Arrow table."""
        return pa.field(self.name, _arrow_types()[self.data_type], nullable=self.nullable)

    @property
    def hints(self) -> TColumnSchema:
        """The column as dlt declares it."""
        hints: TColumnSchema = {
            "name": self.name,
            "data_type": self.data_type,
            "nullable": self.nullable,
            "description": self.description,
        }
        if self.data_type == "decimal":
            hints |= {"precision": CREDITS_PRECISION, "scale": CREDITS_SCALE}
        if self.is_personal:
            hints[_PERSONAL] = True  # type: ignore[typeddict-unknown-key]  # dlt keeps hints of any name that starts with x-
        for name in self.layout:
            hints[name] = True  # type: ignore[literal-required]
        return hints


@dataclass(frozen=True, slots=True)
class Table:
    """A declared table; `key` names the columns that its rows are replaced by."""

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    replaces_batches: bool = False
    """Whether a batch has many rows, and is replaced as a whole."""
    layout: Mapping[str, object] = field(default_factory=dict)
    """dlt's hints for how a destination lays the rows out."""

    @property
    def arrow(self) -> pa.Schema:
        """The declared columns as an Arrow schema."""
        return pa.schema([column.arrow for column in self.columns])

    @property
    def names(self) -> frozenset[str]:
        """Names of the declared columns."""
        return frozenset(column.name for column in self.columns)


_BATCH_ID: Final = Column("batch_id", "text", "The API's id of the batch, `general.id`.", nullable=False)
_STATUS: Final = Column(
    "status", "text", "The API's word for the state: `ongoing`, `completed`, `failed`.", nullable=False
)
_FETCHED: Final = (
    Column("fetched_at", "timestamp", "When the API answered, UTC.", nullable=False),
    Column("_dlt_load_id", "text", "The load that brought the row; joins `_dlt_loads`.", nullable=False),
)

BATCHES: Final = Table(
    "batches",
    "One row for a batch that the API knows, as it was last seen.",
    ("batch_id",),
    (
        _BATCH_ID,
        _STATUS,
        Column("custom", "text", "What was sent with the batch, as JSON text.", is_personal=True, is_json=True),
        Column("first_seen_at", "timestamp", "When a run first knew of the batch, UTC; later looks keep it."),
        *_FETCHED,
    ),
)
BATCH_STATS: Final = Table(
    "batch_stats",
    "One row for a batch: what the API claims, and beside it what arrived.",
    ("batch_id",),
    (
        _BATCH_ID,
        _STATUS,
        Column("requested", "bigint", "Searches in the batch."),
        Column("finished", "bigint", "Searches finished so far; the API tells it while the batch is ongoing."),
        Column("found", "bigint", "Phone numbers found, as the API claims; older pages call it `valid`."),
        Column("credits_cost", "decimal", "Credits consumed by the whole batch."),
        Column("credits_to_refund", "decimal", "Credits given back for searches without a result."),
        Column("results_received", "bigint", "Results that arrived with this answer.", nullable=False),
        Column("found_received", "bigint", "Results that arrived qualified `found`.", nullable=False),
        *_FETCHED,
    ),
)
PHONE_RESULTS: Final = Table(
    "phone_results",
    "One row for a search in a completed batch.",
    ("batch_id",),
    (
        # Snowflake's clustering key, among others.
        replace(_BATCH_ID, layout=("cluster",)),
        Column("index", "bigint", "Position of the search in the submitted array, from 0."),
        Column("qualification", "text", "`found` or `not_found`."),
        Column("number", "text", "The phone number, E.164; null when not found.", is_personal=True),
        Column("country", "text", "Country of the number, ISO 3166-1 alpha-2; null when not found."),
        Column("custom", "text", "The submitter's own reference, as JSON text.", is_personal=True, is_json=True),
        Column("params__linkedin_url", "text", "The search as submitted: profile URL.", is_personal=True),
        Column("params__firstname", "text", "The search as submitted: first name.", is_personal=True),
        Column("params__lastname", "text", "The search as submitted: last name.", is_personal=True),
        Column("params__company_domain", "text", "The search as submitted: domain of the company.", is_personal=True),
        Column("params__company_name", "text", "The search as submitted: name of the company.", is_personal=True),
        # By day; BigQuery's own hint, since a Delta table would have a part for each microsecond.
        replace(_FETCHED[0], layout=("x-bigquery-partition",)),
        _FETCHED[1],
    ),
    replaces_batches=True,
    layout={"x-bigquery-cluster-columns": ["batch_id"]},
)
PHONE_RESULTS_LEDGER: Final = Table(
    "phone_results_ledger",
    "One row for a batch that `phone_results` was loaded for: tells a batch without results from one not loaded.",
    ("batch_id",),
    (
        _BATCH_ID,
        _STATUS,
        Column("results_loaded", "bigint", "Rows of the batch in `phone_results`.", nullable=False),
        *_FETCHED,
    ),
)
BATCH_ERRORS: Final = Table(
    "batch_errors",
    "One row for a look at a batch that failed.",
    ("batch_id", "fetched_at"),
    (
        Column("batch_id", "text", "The id that was asked for.", nullable=False),
        Column("http_status", "bigint", "Status of the answer; null where there was none."),
        Column("kind", "text", "What kind of failure it was; the values are listed under Errors.", nullable=False),
        Column("message", "text", "What was wrong and where, without values of the response.", nullable=False),
        *_FETCHED,
    ),
)
DEFERRED_BATCH_IDS: Final = Table(
    "deferred_batch_ids",
    "One row for an id that was read from a file or a query, and not looked at, or in vain: later runs look at it.",
    ("batch_id",),
    (
        Column("batch_id", "text", "The id that was read.", nullable=False),
        Column("deferred_at", "timestamp", "When it was left to later runs, UTC.", nullable=False),
        _FETCHED[1],
    ),
)
TABLES: Final = (BATCHES, BATCH_STATS, PHONE_RESULTS, PHONE_RESULTS_LEDGER, BATCH_ERRORS)


Seen = tuple[Batch, datetime]
"""A parsed batch and the time of its answer."""


_OVERFLOW: Final = frozenset({"overflow", "params__overflow"})
"""Columns for the undocumented fields that get none of their own: a JSON object of key and value."""


class ColumnNames:
    """Gives every undocumented field a column: its key, normalised by the destination's naming convention.

    A field gets no column, and goes to the JSON column `overflow`, where its key has no usable name, or where the
    table already has `limit` columns that are not declared. A key that would hide a declared column or one of
    dlt's is prefixed with its level. Safe to use from several threads.

    Args:
        normalize: The naming convention: a name in, the column's name out.
        existing: The columns that each table has at the destination.
        limit: Undeclared columns that a table may have.
    """

    def __init__(self, normalize: Callable[[str], str], existing: Mapping[str, Iterable[str]], limit: int) -> None:
        self._normalize = normalize
        self._limit = limit
        self._columns = {table.name: set(existing.get(table.name, ())) - table.names for table in TABLES}
        self._lock = Lock()
        self.overflowed: set[tuple[str, str]] = set()
        """Table and key of each field that got no column."""

    def column(self, table: Table, level: str, key: str) -> str | None:
        """Return the column of `table` for the undocumented field `key` of `level`; None for the overflow."""
        with self._lock:
            name = self._name(table, level, key)
            columns = self._columns[table.name]
            if name is not None and (name in columns or len(columns) < self._limit):
                columns.add(name)
                return name
            self.overflowed.add((table.name, key))
            return None

    def _name(self, table: Table, level: str, key: str) -> str | None:
        if not key.strip(" _"):
            return None
        name = self._normalize(f"params__{key}" if level == "params" else key)
        taken = table.names | _OVERFLOW
        if name in taken or name.startswith("_dlt"):
            name = self._normalize(f"{level}__{key}")
        # A name that the convention would change again could meet another one later, inside dlt.
        return None if not name or name in taken or self._normalize(name) != name else name


@dataclass(frozen=True, slots=True)
class Stamp:
    """What making rows takes besides the batch."""

    load_id: str
    """The load that brings the rows; it joins `_dlt_loads`."""
    names: ColumnNames
    privacy: Privacy = field(default_factory=Privacy)
    is_erased: Callable[[Mapping[str, pa.Array]], pa.Array] | None = None
    """Tells the rows of erased persons from the columns of `phone_results`; None where nobody was erased."""
    first_seen: Mapping[str, datetime] = field(default_factory=dict)
    """When a run first knew of a batch, for those that are looked at again."""


def batches_table(batches: Iterable[Seen], stamp: Stamp) -> pa.Table:
    """Make the rows of `batches`, one for each batch."""
    return _table(
        BATCHES,
        [
            {
                "batch_id": batch.batch_id,
                "status": batch.status,
                "custom": stamp.privacy.text(batch.custom, is_json=True),
                "first_seen_at": stamp.first_seen.get(batch.batch_id, fetched_at),
                "fetched_at": fetched_at,
            }
            | _unknown(BATCHES, {"response": batch.unknown_top, "general": batch.unknown}, stamp.names)
            for batch, fetched_at in batches
        ],
        stamp,
    )


def batch_stats_table(batches: Iterable[Seen], stamp: Stamp) -> pa.Table:
    """Make the rows of `batch_stats`, one for each batch."""
    return _table(
        BATCH_STATS,
        [
            {
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
            | _unknown(BATCH_STATS, {"stats": batch.stats.unknown}, stamp.names)
            for batch, fetched_at in batches
        ],
        stamp,
    )


def phone_results_table(batch: Batch, fetched_at: datetime, stamp: Stamp) -> pa.Table:
    """Make the rows of `phone_results` for one batch: one for each result, none while the batch is not completed."""
    results = batch.results if batch.is_completed else Results()
    values: dict[str, Any] = {
        "batch_id": pa.repeat(batch.batch_id, results.count),
        "index": results.index,
        **{name: results.fields.get(name, ()) for name in RESULT_FIELDS},
        **{f"params__{name}": results.params.get(name, ()) for name in PARAMS},
        "fetched_at": pa.repeat(pa.scalar(fetched_at, _arrow_types()["timestamp"]), results.count),
        "_dlt_load_id": pa.repeat(stamp.load_id, results.count),
    }
    unknown: dict[str, list[str | None]] = {}
    result_level = _Level("result", RESULT_FIELDS, results.fields, results.more_fields)
    params_level = _Level("params", PARAMS, results.params, results.more_params)
    for level in (result_level, params_level):
        _add_unknown(unknown, level, results.count, stamp.names)
    schema = _with_unknown(PHONE_RESULTS, unknown)
    columns = [pa.array((values | unknown)[field.name], field.type) for field in schema]
    if stamp.is_erased is not None:
        kept = pc.invert(stamp.is_erased(dict(zip(schema.names, columns, strict=True))))
        columns = [column.filter(kept) for column in columns]
    for number, name in enumerate(schema.names):
        if name not in _IMPERSONAL:
            columns[number] = stamp.privacy.column(columns[number], is_json=name in _JSON)
    return pa.table(columns, schema=schema)


_IMPERSONAL: Final = frozenset(column.name for column in PHONE_RESULTS.columns if not column.is_personal)
"""What is left as it is; nobody can say what an undocumented field of a search holds."""

_JSON: Final = frozenset({"custom", *_OVERFLOW})


def joined(results: Iterable[pa.Table]) -> pa.Table:
    """Put the `phone_results` of many batches into one table; null where a batch has not a column."""
    return pa.concat_tables([PHONE_RESULTS.arrow.empty_table(), *results], promote_options="default")


def phone_results_ledger_table(
    batches: Iterable[Seen], stamp: Stamp, erased: Mapping[str, int] | None = None
) -> pa.Table:
    """Make the rows of `phone_results_ledger`, one for each batch; `erased` counts those of its rows left out."""
    erased = erased or {}
    return _table(
        PHONE_RESULTS_LEDGER,
        [
            {
                "batch_id": batch.batch_id,
                "status": batch.status,
                "results_loaded": batch.results.count - erased.get(batch.batch_id, 0) if batch.is_completed else 0,
                "fetched_at": fetched_at,
            }
            for batch, fetched_at in batches
        ],
        stamp,
    )


def batch_errors_table(errors: Iterable[tuple[str, BatchError, datetime]], stamp: Stamp) -> pa.Table:
    """Make the rows of `batch_errors`, one for each id, what went wrong with it, and when."""
    return _table(
        BATCH_ERRORS,
        [
            {
                "batch_id": batch_id,
                "http_status": error.http_status,
                "kind": error.kind.value,
                "message": error.message,
                "fetched_at": failed_at,
            }
            for batch_id, error, failed_at in errors
        ],
        stamp,
    )


def deferred_batch_ids_table(batch_ids: Iterable[str], deferred_at: datetime, stamp: Stamp) -> pa.Table:
    """Make the rows of `deferred_batch_ids`, one for each id."""
    rows = [{"batch_id": batch_id, "deferred_at": deferred_at} for batch_id in batch_ids]
    return _table(DEFERRED_BATCH_IDS, rows, stamp)


def _table(table: Table, rows: list[dict[str, Any]], stamp: Stamp) -> pa.Table:
    for row in rows:
        row["_dlt_load_id"] = stamp.load_id
    unknown = {name for row in rows for name in row} - table.names
    return pa.Table.from_pylist(rows, schema=_with_unknown(table, unknown))


def _with_unknown(table: Table, unknown: Iterable[str]) -> pa.Schema:
    """Append the columns of undocumented fields; all are text, so that no later value can be of another type."""
    return pa.schema([*table.arrow, *(pa.field(name, pa.string()) for name in sorted(unknown))])


def _unknown(table: Table, levels: Mapping[str, Mapping[str, str | None]], names: ColumnNames) -> dict[str, str]:
    """Name the undocumented fields of one row; what gets no column is kept in `overflow`."""
    row: dict[str, str] = {}
    overflow: dict[str, str] = {}
    for level, fields in levels.items():
        for key, value in fields.items():
            if value is None:
                continue
            column = names.column(table, level, key)
            if column in row:
                column = names.column(table, level, f"{level}__{key}")
            if column is None or column in row:
                overflow[f"{level}__{key}" if key in overflow else key] = value
            else:
                row[column] = value
    if overflow:
        row["overflow"] = _json(overflow)
    return row


@dataclass(frozen=True, slots=True)
class _Level:
    """A place in a result where undocumented fields may stand."""

    name: str
    documented: Collection[str]
    fields: Mapping[str, list[str | None]]
    more: Mapping[int, Mapping[str, str]]

    @property
    def overflow(self) -> str:
        """The column for the fields that get none of their own."""
        return "params__overflow" if self.name == "params" else "overflow"


def _add_unknown(columns: dict[str, list[str | None]], level: _Level, count: int, names: ColumnNames) -> None:
    """Add a column for each undocumented field of the results; what gets none is kept in an overflow column."""
    overflow = {row: dict(fields) for row, fields in level.more.items()}
    names.overflowed.update((PHONE_RESULTS.name, key) for fields in overflow.values() for key in fields)
    for key in sorted(level.fields.keys() - level.documented):
        values = level.fields[key]
        if not any(value is not None for value in values):
            continue
        column = names.column(PHONE_RESULTS, level.name, key)
        target = columns.setdefault(column, [None] * count) if column else None
        for row, value in enumerate(values):
            if value is None:
                continue
            if target is None or target[row] is not None:
                overflow.setdefault(row, {})[key] = value
            else:
                target[row] = value
    if overflow:
        columns[level.overflow] = [_json(overflow[row]) if row in overflow else None for row in range(count)]


def _json(fields: Mapping[str, str]) -> str:
    return json.dumps(fields, ensure_ascii=False)
