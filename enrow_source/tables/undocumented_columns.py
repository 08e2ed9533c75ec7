"""Columns for undocumented fields. Pure: no dlt run, no HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from ..lazy import pa
from .privacy import Pii, Privacy
from .schema import PHONE_RESULTS, TABLES, Table

OVERFLOW_COLUMNS: Final = frozenset({"overflow", "params__overflow"})
"""Columns for the undocumented fields that get none of their own: a JSON object of key and value."""


DISCARD_ROW: Final = "discard_row"
DISCARD_VALUE: Final = "discard_value"

_RESERVED: Final = frozenset(
    # Postgres, and what descends from it; DuckDB; Delta tables.
    {"cmax", "cmin", "ctid", "oid", "tableoid", "xmax", "xmin", "rowid", "_metadata"}
)

_RESERVED_PREFIXES: Final = (
    "_table_",
    "_file_",
    "_partition",
    "_row_timestamp",
    "__root__",
    "_colidentifier",
    "_change_",
    "_commit_",
    "__delta_rs",
    "__index_level",
    "metadata$",
    "_dlt",
)
"""Names that a destination has for itself, in any case: a table with such a column cannot be made there."""


class _Discarded:
    """Stands for the column of a field that the contract of the table leaves out."""


DISCARDED: Final = _Discarded()


@dataclass(frozen=True, slots=True)
class NameRules:
    """What a destination, and the user, say of new columns."""

    normalize: Callable[[str], str]
    """The naming convention: a name in, the column's name out."""
    is_case_sensitive: bool = True
    """Whether names that differ in case alone are two columns."""
    max_bytes: int | None = None
    """Bytes that a name may have; None for no limit."""
    contracts: Mapping[str, str] = field(default_factory=dict)
    """What becomes of a field that a table has no column for: `discard_row` or `discard_value`."""

    def folded(self, name: str) -> str:
        """Return what is the same for names of one column."""
        return name if self.is_case_sensitive else name.casefold()


class ColumnNames:
    """Gives every undocumented field a column: its key, normalised by the destination's naming convention.

    A field gets no column, and goes to the JSON column `overflow`, where its key has no usable name, where the table
    already has `limit` columns that are not declared, or where `hides_names` since names may be somebody's. A key that
    would hide a declared column or one of dlt's, or that the destination has for itself, is prefixed with its level.
    `existing` has the columns of each table at the destination. Safe to use from several threads.
    """

    def __init__(
        self, rules: NameRules, existing: Mapping[str, Iterable[str]], limit: int, *, hides_names: bool = False
    ) -> None:
        self._hides_names = hides_names
        self._rules = rules
        self._limit = limit
        # By what is the same for all spellings of one column.
        self._columns = {
            table.name: {rules.folded(name): name for name in set(existing.get(table.name, ())) - table.names}
            for table in TABLES
        }
        self._lock = Lock()
        self.discarded: Counter[tuple[str, str]] = Counter()
        """Table and key of each field that the contract of the table leaves out, and how often."""
        self.overflowed: set[tuple[str, str]] = set()
        """Table and key of each field that got no column."""

    def column(self, table: Table, level: str, key: str) -> str | _Discarded | None:
        """Return the column of `table` for the undocumented field `key` of `level`; None for the overflow."""
        if self._hides_names:
            return None
        with self._lock:
            name = self._name(table, level, key)
            columns = self._columns[table.name]
            if name is not None and (known := columns.get(self._rules.folded(name))) is not None:
                return known
            if self.contract(table) is not None:
                return DISCARDED
            if name is not None and len(columns) < self._limit:
                columns[self._rules.folded(name)] = name
                return name
            self.overflowed.add((table.name, key))
            return None

    def contract(self, table: Table) -> str | None:
        """Return what becomes of a field that the table has no column for; None where it gets one."""
        return self._rules.contracts.get(table.name)

    def takes_overflow(self, table: Table, column: str) -> bool:
        """Whether the table has the overflow column, or may get it."""
        return self.contract(table) is None or column in self._columns[table.name]

    def discard(self, table: Table, key: str, count: int = 1) -> None:
        """Count values that the contract of the table leaves out."""
        with self._lock:
            self.discarded[table.name, key] += count

    def _name(self, table: Table, level: str, key: str) -> str | None:
        if not key.strip(" _"):
            return None
        normalize = self._rules.normalize
        name = normalize(f"params__{key}" if level == "params" else key)
        if self._is_taken(table, name):
            name = normalize(f"{level}__{key}")
        # A name that the convention would change again could meet another one later, inside dlt.
        if not name or not name.isprintable() or self._is_taken(table, name) or normalize(name) != name:
            return None
        limit = self._rules.max_bytes
        return None if limit is not None and len(name.encode(errors="replace")) > limit else name

    def _is_taken(self, table: Table, name: str) -> bool:
        lowered = name.casefold()
        if lowered in _RESERVED or lowered.startswith(_RESERVED_PREFIXES):
            return True
        folded = self._rules.folded(name)
        return any(folded == self._rules.folded(known) for known in table.names | OVERFLOW_COLUMNS)


def with_undocumented(table: Table, unknown: Iterable[str]) -> pa.Schema:
    """Append the columns of undocumented fields; all are text, so that no later value can be of another type."""
    names = sorted(unknown)
    return pa.schema([*table.arrow, *(pa.field(name, pa.string()) for name in names)]) if names else table.arrow


def undocumented_columns(
    table: Table, levels: Mapping[str, Mapping[str, str | None]], names: ColumnNames, privacy: Privacy
) -> dict[str, str | None] | None:
    """Name the undocumented fields of a row, the rest in `overflow`; None where its contract leaves the row out."""
    row: dict[str, str | None] = {}
    overflow: dict[str, str] = {}
    is_discarded = False
    for level, fields in levels.items():
        for key, value in fields.items():
            if value is None:
                continue
            column = names.column(table, level, key)
            if column in row:
                column = names.column(table, level, f"{level}__{key}")
            if isinstance(column, _Discarded):
                names.discard(table, key)
                is_discarded = is_discarded or names.contract(table) == DISCARD_ROW
            elif column is None or column in row:
                overflow[f"{level}__{key}" if key in overflow else key] = value
            else:
                row[column] = value
    if overflow and names.takes_overflow(table, "overflow"):
        row["overflow"] = privacy.fields(overflow)
    elif overflow:
        names.discard(table, "overflow")
        is_discarded = is_discarded or names.contract(table) == DISCARD_ROW
    return None if is_discarded else {name: value for name, value in row.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Level:
    """A place in a result where undocumented fields may stand."""

    name: str
    documented: Collection[str]
    fields: Mapping[str, list[str | None]]
    more: Mapping[int, Mapping[str, str]]

    @property
    def overflow(self) -> str:
        """The column for the fields that get none of their own."""
        return "params__overflow" if self.name == "params" else "overflow"


def add_undocumented_columns(
    columns: dict[str, list[str | None]], level: Level, count: int, names: ColumnNames, privacy: Privacy
) -> set[int]:
    """Add a column for each undocumented field, or to the overflow; return the results that a contract leaves out."""
    overflow = {row: dict(fields) for row, fields in level.more.items()}
    discarded: set[int] = set()
    if not privacy.hides:
        names.overflowed.update((PHONE_RESULTS.name, key) for fields in overflow.values() for key in fields)
    for key in sorted(level.fields.keys() - level.documented):
        values = level.fields[key]
        if not any(value is not None for value in values):
            continue
        column = names.column(PHONE_RESULTS, level.name, key)
        if isinstance(column, _Discarded):
            with_value = [row for row, value in enumerate(values) if value is not None]
            names.discard(PHONE_RESULTS, key, len(with_value))
            discarded.update(with_value if names.contract(PHONE_RESULTS) == DISCARD_ROW else ())
            continue
        target = columns.setdefault(column, [None] * count) if column else None
        for row, value in enumerate(values):
            if value is None:
                continue
            if target is None or target[row] is not None:
                overflow.setdefault(row, {})[key] = value
            else:
                target[row] = value
    if overflow and not names.takes_overflow(PHONE_RESULTS, level.overflow):
        names.discard(PHONE_RESULTS, level.overflow, len(overflow))
        discarded.update(overflow if names.contract(PHONE_RESULTS) == DISCARD_ROW else ())
    elif overflow and privacy.mode is not Pii.DROP:
        columns[level.overflow] = [privacy.fields(overflow[row]) if row in overflow else None for row in range(count)]
    return discarded
