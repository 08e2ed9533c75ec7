"""The one statement that reads the ledger, as SQL that every destination takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..settings import LEDGER_FETCH_ROWS
from ..tables.schema import DEFERRED_BATCH_IDS, PHONE_RESULTS_LEDGER
from .ledger_rows import (
    FINAL_ROWS,
    HAS_NO_LOADS,
    HAS_RESULTS,
    IS_BEGUN,
    IS_ERASURE,
    IS_GIVEN_UP,
    IS_LOADED,
    IS_UNFINISHED,
    UNKNOWN_ANSWER,
    Row,
    as_row,
)
from .load_status import BEGUN
from .sql import exists, parameters
from .suppressions import ERASURES

if TYPE_CHECKING:
    from dlt.common.schema import Schema
    from dlt.destinations.sql_client import SqlClientBase


class LedgerStatement:
    """The statement, and the one that deletes what it shows to be settled.

    Args:
        client: Of the destination.
        schema: Of the source.
        final: The words for final states.
        tables_wanted: The tables that have to hold a batch.
    """

    def __init__(
        self,
        client: SqlClientBase[Any],
        schema: Schema,
        final: Sequence[str],
        tables_wanted: int,
    ) -> None:
        self.client = client
        self._schema = schema
        self._final = ", ".join(f"'{word}'" for word in final)
        self._tables_wanted = tables_wanted
        self._named: Sequence[str] | None = ()
        self._deferred = False
        self.has_loads = True
        """Whether `_dlt_loads` exists."""
        self.trusted_loads: Collection[str] = ()
        """Loads that were completed, whatever `_dlt_loads` has of them."""

    def exists(self, table: str) -> bool:
        """Whether the destination has the table."""
        return exists(self.client, self.table(table))

    def rows(
        self, tables: Sequence[str], more: Sequence[str], empty: Sequence[str], named: Sequence[str] | None
    ) -> Iterator[Row | str]:
        """Read the rows of the batches, of those that are loaded for good the id alone.

        They are in `tables`, which have a row for every batch, and in `more`: `batch_errors` and `deferred_batch_ids`.
        The `empty` tables have to exist; nothing is read of them. The batches that are `named` are read whole; where it
        is None, all that are loaded are read too.
        """
        self._named = named
        sql, parameters = self._select(tables, more, empty)
        with self.client.execute_query(sql, *parameters) as cursor:
            while rows := cursor.fetchmany(LEDGER_FETCH_ROWS):
                yield from map(as_row, rows)

    def delete_loaded_deferrals(self, tables: Sequence[str]) -> None:
        """Delete the rows of `deferred_batch_ids` whose batch is loaded for good."""
        self._named, self._deferred = (), True
        union = " UNION ALL ".join(self._fetches(table, n, len(tables)) for n, table in enumerate(tables))
        deferred, batch_id = self.table(DEFERRED_BATCH_IDS.name), self._column("", "batch_id")
        self.client.execute_sql(
            f"DELETE FROM {deferred} WHERE {batch_id} IN (SELECT batch_id FROM ({union}) fetches"  # noqa: S608 - escaped
            f" GROUP BY batch_id HAVING {self._is_loaded(len(tables))})"
        )

    def _select(self, tables: Sequence[str], more: Sequence[str], empty: Sequence[str]) -> tuple[str, list[str]]:
        count = len(tables)
        self._deferred = DEFERRED_BATCH_IDS.name in more
        logs = [table for table in more if table != DEFERRED_BATCH_IDS.name]
        parts = [
            self._fetches(table, number, count, self._or_pending(table, tables)) for number, table in enumerate(tables)
        ]
        parts += [self._failed_fetches(table, count) for table in logs]
        parts += [self._deferrals(count)] if self._deferred else []
        nothing = f"NULL, NULL, {self._flags(count)}, 0, NULL, 0, 0, 0, 0, 0, 0"
        parts += [f"SELECT {nothing} FROM {self.table(table)} WHERE 1 = 0" for table in empty]  # noqa: S608 - escaped
        parts += [self._begun_loads(count), self._erasures(count)] if self.has_loads else []
        is_loaded = self._is_loaded(count)
        deferred = f"CASE WHEN MAX(deferred) = 1 THEN {IS_LOADED} ELSE NULL END"
        flags = (
            f"MAX(pending) + {HAS_RESULTS} * MAX(has_results) + MAX(unfinished)"
            f" + {IS_GIVEN_UP} * MAX(given_up) + {UNKNOWN_ANSWER} * MAX(unknown_answers)"
        )
        # No points in time of what is loaded: to make them takes most of the time, where a million batches are.
        sql = (
            f"SELECT batch_id, CASE WHEN {is_loaded} THEN {deferred} ELSE {flags} END,"  # noqa: S608
            f" CASE WHEN {is_loaded} THEN NULL ELSE MAX(last_fetched) END,"
            f" CASE WHEN {is_loaded} THEN NULL ELSE MIN(first_seen) END,"
            f" CASE WHEN {is_loaded} THEN NULL ELSE MAX(CASE WHEN failed = 1 THEN last_fetched END) END,"
            f" CASE WHEN {is_loaded} THEN NULL ELSE MAX(CASE WHEN deferred = 1 THEN first_seen END) END"
            f" FROM ({' UNION ALL '.join(parts)}) fetches GROUP BY batch_id"
        )
        sql += self._loaded_batches(tables) if self._named is None else ""
        named = list(self._named or ())
        return sql, named * count

    def _is_loaded(self, tables: int) -> str:
        return " + ".join(f"MAX(loaded_{number})" for number in range(tables)) + f" = {self._tables_wanted}"

    def _loaded_batches(self, tables: Sequence[str]) -> str:
        """Select the batches that are loaded, and how many final rows each table has.

        Without a GROUP BY: of a million batches it takes more memory than `run()` leaves DuckDB.
        """
        batch_id, nothing = self._column("t", "batch_id"), "NULL, NULL, NULL, NULL"
        final = [self._final_rows(table) for table in tables]
        parts = [
            f"SELECT '{t}', {FINAL_ROWS} - COUNT(*), {nothing} {rows}" for t, rows in zip(tables, final, strict=True)
        ]
        if len(tables) == self._tables_wanted:
            others = "".join(f" AND {batch_id} IN (SELECT {batch_id} {rows})" for rows in final[1:])
            parts.append(f"SELECT {batch_id}, NULL, {nothing} {final[0]}{others}")
        return "".join(f" UNION ALL {part}" for part in parts)

    def _final_rows(self, table: str) -> str:
        load_id = self._column("t", "_dlt_load_id")
        return f"FROM {self.table(table)} t {self._join(load_id)} WHERE {self._is_final(load_id)}"

    def _is_final(self, load_id: str) -> str:
        """Whether the state of a row is final, and its load was completed."""
        return f"{self._column('t', 'status')} IN ({self._final}) AND {self._is_done(load_id)}"

    def _is_done(self, load_id: str) -> str:
        # Loads are named by the time they began. What is older than all that is kept in `_dlt_loads` was completed:
        # what a killed run left has lost its load by then, for the next run took it away.
        return f"(l.done = 1 OR ({load_id} <> '' AND {load_id} < o.oldest){self._or_trusted(load_id)})"

    def _or_pending(self, table: str, tables: Sequence[str]) -> str:
        """Read, of the ledger of results, also batches that are pending in another table: whether they have some."""
        if table != PHONE_RESULTS_LEDGER.name:
            return ""
        batch_id, status = self._column("", "batch_id"), self._column("", "status")
        is_in = f" OR {self._column('t', 'batch_id')} IN (SELECT {batch_id} FROM"
        others = [self.table(other) for other in tables if other != table]
        return "".join(f"{is_in} {other} WHERE {status} NOT IN ({self._final}))" for other in others)

    def _fetches(self, table: str, number: int, tables: int, always: str = "") -> str:
        """Select the rows of one table: loaded where the state is final and the load was completed."""
        batch_id, load_id = self._column("t", "batch_id"), self._column("t", "_dlt_load_id")
        is_loaded = f"CASE WHEN {self._is_final(load_id)} THEN 1 ELSE 0 END"
        unfinished = (
            f"CASE WHEN {self._is_done(load_id)} OR {load_id} = '' THEN 0 WHEN o.oldest IS NULL THEN {HAS_NO_LOADS}"
            f" ELSE {IS_UNFINISHED} END"
        )
        flags = [f"{is_loaded if n == number else 0} AS loaded_{n}" for n in range(tables)]
        counts = f"CASE WHEN {self._column('t', 'results_loaded')} > 0 THEN 1 ELSE 0 END"
        has_results = counts if table == PHONE_RESULTS_LEDGER.name else "0"
        return (
            f"SELECT {batch_id} AS batch_id, {self._column('t', 'fetched_at')} AS last_fetched, {', '.join(flags)},"  # noqa: S608
            f" 1 - {is_loaded} AS pending, {self._first_seen(table)} AS first_seen, {has_results} AS has_results,"
            f" {unfinished} AS unfinished, 0 AS deferred, 0 AS given_up, 0 AS unknown_answers, 0 AS failed"
            f" FROM {self.table(table)} t {self._join(load_id)}" + self._narrow(f"{is_loaded} = 0{always}")
        )

    def _join(self, load_id: str) -> str:
        if not self.has_loads:
            none = "SELECT '' AS load_id, 0 AS done, '' AS oldest"
            return (
                f"LEFT JOIN (SELECT load_id, done FROM ({none}) n WHERE 1 = 0) l ON l.load_id = {load_id}"  # noqa: S608
                f" LEFT JOIN (SELECT oldest FROM ({none}) n WHERE 1 = 0) o ON 1 = 1"
            )
        of_load, status = self._dlt_column("load_id"), self._dlt_column("status")
        loads = self.table(self._schema.loads_table_name)
        return (
            f"LEFT JOIN (SELECT {of_load} AS load_id, 1 AS done FROM {loads} WHERE {status} = 0) l"  # noqa: S608
            f" ON l.load_id = {load_id} CROSS JOIN (SELECT MIN({of_load}) AS oldest FROM {loads}"
            f" WHERE {self._dlt_column('schema_name')} = '{self._schema.name}') o"
        )

    def _or_trusted(self, load_id: str) -> str:
        names = ", ".join(f"'{name}'" for name in sorted(self.trusted_loads))
        return f" OR {load_id} IN ({names})" if names else ""

    def _failed_fetches(self, log: str, tables: int) -> str:
        """Select when each batch was last fetched without an answer; of pending ones too, which no input names."""
        batch_id = self._column("t", "batch_id")
        return (
            f"SELECT {batch_id}, MAX({self._column('t', 'fetched_at')}), {self._flags(tables)}, 0, NULL, 0, 0, 0,"  # noqa: S608
            f" 0, 0, 1 FROM {self.table(log)} t GROUP BY {batch_id}"
        )

    def _deferrals(self, tables: int) -> str:
        """Select the ids that are to be fetched, unless a table above has their batch for good."""
        given_up = f"CASE WHEN {self._column('t', 'given_up_at')} IS NULL THEN 0 ELSE 1 END"
        return (
            f"SELECT {self._column('t', 'batch_id')}, NULL, {self._flags(tables)}, 1 - {given_up},"  # noqa: S608
            f" {self._column('t', 'deferred_at')}, 0, 0, 1, {given_up}, 1 + {self._column('t', 'unknown_answers')}, 0"
            f" FROM {self.table(DEFERRED_BATCH_IDS.name)} t"
        )

    def _begun_loads(self, tables: int) -> str:
        """Select the loads that have begun and are not complete, among the batches: it saves a statement."""
        load_id, status = self._dlt_column("load_id"), self._dlt_column("status")
        return (
            f"SELECT {load_id}, NULL, {self._flags(tables)}, 0, NULL, 0, {IS_BEGUN}, 0, 0, 0, 0"  # noqa: S608 - escaped
            f" FROM {self.table(self._schema.loads_table_name)} GROUP BY {load_id} HAVING MIN({status}) = {BEGUN}"
        )

    def _erasures(self, tables: int) -> str:
        """Select the loads that wrote down an erasure."""
        return (
            f"SELECT {self._dlt_column('load_id')}, NULL, {self._flags(tables)}, 0, NULL, 0, {IS_ERASURE}, 0, 0, 0, 0"  # noqa: S608 - escaped
            f" FROM {self.table(self._schema.loads_table_name)}"
            f" WHERE {self._dlt_column('schema_name')} = '{ERASURES}'"
        )

    @staticmethod
    def _flags(tables: int) -> str:
        return ", ".join(["0"] * tables)

    def _first_seen(self, table: str) -> str:
        columns = self._schema.tables.get(table, {}).get("columns", {})
        return self._column("t", "first_seen_at") if "first_seen_at" in columns else "NULL"

    def _narrow(self, always: str) -> str:
        """Narrow to the batches that are named, and to the rows that are wanted in any case."""
        if self._deferred:
            ids = f"SELECT {self._column('', 'batch_id')} FROM {self.table(DEFERRED_BATCH_IDS.name)}"  # noqa: S608 - escaped names
            always += f" OR {self._column('t', 'batch_id')} IN ({ids})"
        if not self._named:
            return f" WHERE {always}"
        names = parameters(self._named)
        return f" WHERE ({self._column('t', 'batch_id')} IN ({names}) OR {always})"

    def table(self, name: str) -> str:
        """Return the qualified name."""
        return self.client.make_qualified_table_name(name)

    def _column(self, alias: str, name: str) -> str:
        return (f"{alias}." if alias else "") + self.client.escape_column_name(name)

    def _dlt_column(self, name: str) -> str:
        return self._column("", self._schema.naming.normalize_identifier(name))
