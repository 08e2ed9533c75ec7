"""Batches whose answer the tables have already: their rows stay, and say when the batch was last fetched.

A batch is fetched again and again while it is ongoing. To load the same rows once more takes two dozen statements for
three merges; to compare and to note the time takes four, and no load where nothing else is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from dlt.destinations.exceptions import DatabaseException

from ..tables.rows import FetchedBatch, RowContext, batch_stats_table, batches_table, phone_results_ledger_table
from ..tables.schema import BATCH_STATS, BATCHES, LEDGER_TABLES, PHONE_RESULTS
from .session import BIGQUERY, DUCKDB, POSTGRES, SNOWFLAKE, Session
from .sql import parameters, utc

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase

    from ..lazy import pa
    from .ledger import LedgerEntry

_MAKE: Final[Mapping[str, Callable[[Iterable[FetchedBatch], RowContext], pa.Table]]] = {
    BATCHES.name: batches_table,
    BATCH_STATS.name: batch_stats_table,
    PHONE_RESULTS.name: phone_results_ledger_table,
}
"""Makes the row of a batch in the ledger table of each resource."""

_FETCHED_AT: Final = "fetched_at"


class UnchangedBatches:
    """Tells the unchanged ones of the batches that a run fetches again."""

    def __init__(self, session: Session, entries: Mapping[str, LedgerEntry]) -> None:
        """Take what the ledger knows of the batches; without any, every batch counts as changed."""
        self._session = session
        self._resources = [name for name in _MAKE if name in session.resources]
        is_same = all(session.is_unchanged(name) and session.keeps_rows(name) for name in self._resources)
        can_update = session.destination_type in (BIGQUERY, DUCKDB, POSTGRES, SNOWFLAKE)
        # Before this run declares tables: a killed first load may have left some that dlt has no schema of.
        self._columns = [self._known_columns(table) for table in self._tables]
        # dlt takes a percent sign in a name for a parameter.
        is_known = bool(self._columns) and all(names and "%" not in "".join(names) for names in self._columns)
        self._entries = entries if is_same and is_known and can_update else {}
        self.batch_ids: set[str] = set()
        """Batches that were unchanged."""

    def leave_out(self, batches: list[FetchedBatch], context: RowContext) -> list[FetchedBatch]:
        """Return the batches whose rows have to be loaded; of the others, write down when they were fetched."""
        again = [fetched for fetched in batches if self._may_be_unchanged(fetched)]
        if not again:
            return batches
        try:
            with self._session.sql_client() as client:
                unchanged = self._unchanged(client, again, context)
                at = {f.batch.batch_id: f.fetched_at for f in again if f.batch.batch_id in unchanged}
                if at:
                    self._note_fetched(client, at)
        except DatabaseException:
            return batches  # a restored warehouse lacks columns, a role may not update: the load repairs it, or says so
        self.batch_ids |= unchanged
        return [fetched for fetched in batches if fetched.batch.batch_id not in unchanged]

    @property
    def _tables(self) -> list[str]:
        return [LEDGER_TABLES[name] for name in self._resources]

    def _may_be_unchanged(self, fetched: FetchedBatch) -> bool:
        entry = self._entries.get(fetched.batch.batch_id)
        is_settled = entry is not None and entry.is_pending and not entry.is_unfinished and not entry.has_results
        return is_settled and not fetched.batch.is_terminal

    def _unchanged(self, client: SqlClientBase[Any], batches: Sequence[FetchedBatch], context: RowContext) -> set[str]:
        new: dict[str, list[dict[str, Any]]] = {fetched.batch.batch_id: [] for fetched in batches}
        for name in self._resources:
            for row in _MAKE[name](batches, context).to_pylist():
                new[row["batch_id"]].append(self._compared(row))
        stored: dict[str, list[dict[str, Any]]] = {}
        for batch_id, rows in _read(client, self._tables, self._columns, list(new)):
            # Twice the same batch: a merge makes it one.
            stored[batch_id] = [] if batch_id in stored else rows
        return {batch_id for batch_id, rows in new.items() if stored.get(batch_id) == rows}

    def _note_fetched(self, client: SqlClientBase[Any], fetched_at: Mapping[str, datetime]) -> None:
        at, batch_id = map(client.escape_column_name, (_FETCHED_AT, "batch_id"))
        cases, names = " WHEN %s THEN %s" * len(fetched_at), parameters(fetched_at)
        values = [value for pair in fetched_at.items() for value in pair]
        for table in self._tables:
            client.execute_sql(
                f"UPDATE {client.make_qualified_table_name(table)}"  # noqa: S608 - escaped names
                f" SET {at} = CASE {batch_id}{cases} END WHERE {batch_id} IN ({names})",
                *values,
                *fetched_at,
            )

    def _known_columns(self, table: str) -> list[str]:
        known = self._session.schema.tables.get(table, {}).get("columns", {})
        return [name for name, column in known.items() if "data_type" in column and self._is_compared(name)]

    def _compared(self, row: Mapping[str, Any]) -> dict[str, Any]:
        named = {self._session.schema.naming.normalize_identifier(name): value for name, value in row.items()}
        return {name: value for name, value in named.items() if value is not None and self._is_compared(name)}

    def _is_compared(self, column: str) -> bool:
        return not column.startswith("_dlt") and column != self._session.schema.naming.normalize_identifier(_FETCHED_AT)


def _read(
    client: SqlClientBase[Any], tables: Sequence[str], columns: Sequence[Sequence[str]], batch_ids: Sequence[str]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each batch that all tables have, and its row in each of them, without nulls."""
    batch_id, aliases = client.escape_column_name("batch_id"), [f"t{number}" for number in range(len(tables))]
    selected = [
        f"{alias}.{client.escape_column_name(name)}"
        for alias, names in zip(aliases, columns, strict=True)
        for name in names
    ]
    first, *others = (
        f"{client.make_qualified_table_name(table)} AS {alias}" for table, alias in zip(tables, aliases, strict=True)
    )
    joins = "".join(
        f" JOIN {other} ON {alias}.{batch_id} = t0.{batch_id}" for other, alias in zip(others, aliases[1:], strict=True)
    )
    names = parameters(batch_ids)
    sql = f"SELECT t0.{batch_id}, {', '.join(selected)} FROM {first}{joins} WHERE t0.{batch_id} IN ({names})"  # noqa: S608
    for of_batch, *values in client.execute_sql(sql, *batch_ids) or ():
        rest = iter(utc(value) if isinstance(value, datetime) else value for value in values)
        rows = [{name: next(rest) for name in of_table} for of_table in columns]
        yield of_batch, [{name: value for name, value in row.items() if value is not None} for row in rows]
