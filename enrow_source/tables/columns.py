"""Columns for undocumented fields. Pure: no dlt run, no HTTP."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final

from ..lazy import pa
from .privacy import Pii, Privacy
from .schema import PHONE_RESULTS, TABLES, Table

OVERFLOW_COLUMNS: Final = frozenset({"overflow", "params__overflow"})
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
        hides_names: Whether no field gets a column, since its name may be somebody's.
    """

    def __init__(
        self,
        normalize: Callable[[str], str],
        existing: Mapping[str, Iterable[str]],
        limit: int,
        *,
        hides_names: bool = False,
    ) -> None:
        self._normalize = normalize
        self._limit = limit
        self._hides_names = hides_names
        self._columns = {table.name: set(existing.get(table.name, ())) - table.names for table in TABLES}
        self._lock = Lock()
        self.overflowed: set[tuple[str, str]] = set()
        """Table and key of each field that got no column."""

    def column(self, table: Table, level: str, key: str) -> str | None:
        """Return the column of `table` for the undocumented field `key` of `level`; None for the overflow."""
        if self._hides_names:
            return None
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
        taken = table.names | OVERFLOW_COLUMNS
        if name in taken or name.startswith("_dlt"):
            name = self._normalize(f"{level}__{key}")
        # A name that the convention would change again could meet another one later, inside dlt.
        return None if not name or name in taken or self._normalize(name) != name else name


def with_undocumented(table: Table, unknown: Iterable[str]) -> pa.Schema:
    """Append the columns of undocumented fields; all are text, so that no later value can be of another type."""
    names = sorted(unknown)
    return pa.schema([*table.arrow, *(pa.field(name, pa.string()) for name in names)]) if names else table.arrow


def undocumented_columns(
    table: Table, levels: Mapping[str, Mapping[str, str | None]], names: ColumnNames, privacy: Privacy
) -> dict[str, str | None]:
    """Name the undocumented fields of one row; what gets no column is kept in `overflow`."""
    row: dict[str, str | None] = {}
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
        row["overflow"] = privacy.fields(overflow)
    return {name: value for name, value in row.items() if value is not None}


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
) -> None:
    """Add a column for each undocumented field of the results; what gets none is kept in an overflow column."""
    overflow = {row: dict(fields) for row, fields in level.more.items()}
    if not privacy.hides:
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
    if overflow and privacy.mode is not Pii.DROP:
        columns[level.overflow] = [privacy.fields(overflow[row]) if row in overflow else None for row in range(count)]
