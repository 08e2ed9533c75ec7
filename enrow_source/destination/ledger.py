"""What the destination holds of each batch, read in one statement.

The destination is the ledger: a batch counts as loaded only where each selected table holds it in a final state,
under a load that `_dlt_loads` says was completed. A load that was killed half-way leaves rows without that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from ..api.models import BatchStatus
from ..settings import LEDGER_FETCH_ROWS, LEDGER_NARROW_IDS
from ..tables.schema import BATCH_ERRORS, BATCH_STATS, BATCHES, DEFERRED_BATCH_IDS, PHONE_RESULTS, PHONE_RESULTS_LEDGER
from .session import Session

if TYPE_CHECKING:
    from dlt.common.schema import Schema
    from dlt.destinations.sql_client import SqlClientBase

LEDGER_TABLES: Final = {
    BATCHES.name: BATCHES.name,
    BATCH_STATS.name: BATCH_STATS.name,
    PHONE_RESULTS.name: PHONE_RESULTS_LEDGER.name,
}
"""Each resource, and the table that has a row for every batch it has loaded."""

_HAS_RESULTS: Final = 2
_GIVEN_UP: Final = 4
_UNKNOWN_ANSWER: Final = 8
"""Added to the flag of a pending batch, so that all flags and a count come in one column."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What the ledger knows of one batch that is not loaded for good."""

    last_fetched_at: datetime | None
    """When the batch was last fetched; None where it never was."""
    is_pending: bool
    """Whether some row of it is not final: it is fetched again, also when no input names it any more."""
    first_seen: datetime | None = None
    """When a run first knew of it."""
    has_results: bool = False
    """Whether the destination has rows of it in `phone_results`."""
    is_given_up: bool = False
    """Whether a deferred id was given up: it is fetched only where it is named."""
    unknown_answers: int | None = None
    """Fetches of a deferred id that the API answered with 'unknown or expired'; None where it is not deferred."""
    has_failed: bool = False
    """Whether its last fetch failed."""


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """The ledger as this run reads it, complete."""

    missing: Sequence[str] = ()
    """The ids of the input that are not loaded for good, in their order."""
    entries: Mapping[str, LedgerEntry] = field(default_factory=dict)
    """What is known of each batch that is not loaded for good."""


def read_ledger(session: Session, batch_ids: Sequence[str], *, retry_failed: bool) -> LedgerSnapshot:
    """Read what the destination knows; nothing outside a pipeline or before its first load.

    Args:
        session: The running extraction.
        batch_ids: The ids of the input; where they are few, only they and the pending ones are read.
        retry_failed: Whether a failed batch counts as pending.
    """
    missing: dict[str, None] = dict.fromkeys(batch_ids)
    entries: dict[str, LedgerEntry] = {}
    for batch_id, entry in _entries(session, batch_ids, retry_failed=retry_failed):
        if entry is None:
            missing.pop(batch_id, None)
        elif entry.is_pending or batch_id in missing:  # `batch_errors` has others too
            entries[batch_id] = entry
    return LedgerSnapshot(tuple(missing), entries)


def _entries(
    session: Session, batch_ids: Sequence[str], *, retry_failed: bool
) -> Iterator[tuple[str, LedgerEntry | None]]:
    """Yield each batch; None where each selected table has it for good, since there may be a million of them."""
    selected = [name for name in LEDGER_TABLES if name in session.resources]
    # Tables that the load drops or empties when it starts, after this was read, hold nothing.
    tables = [LEDGER_TABLES[name] for name in selected if session.keeps_rows(name)]
    if not tables or session.destination_type is None:
        return
    final = [s.value for s in BatchStatus if s.is_terminal and not (retry_failed and s is BatchStatus.FAILED)]
    with session.sql_client() as client:
        statement = _Statement(client, session.schema, final, len(selected), batch_ids)
        yield from statement.entries(
            tables, [t.name for t in (BATCH_ERRORS, DEFERRED_BATCH_IDS) if t.name in session.schema.tables]
        )


class _Statement:
    """The one statement that reads the ledger."""

    def __init__(
        self,
        client: SqlClientBase[Any],
        schema: Schema,
        final: Sequence[str],
        tables_wanted: int,
        batch_ids: Sequence[str],
    ) -> None:
        self._client = client
        self._schema = schema
        self._final = ", ".join(f"'{word}'" for word in final)
        self._tables_wanted = tables_wanted
        self._batch_ids = batch_ids if len(batch_ids) <= LEDGER_NARROW_IDS else None
        self._deferred: str | None = None

    def entries(self, tables: Sequence[str], more: Sequence[str]) -> Iterator[tuple[str, LedgerEntry | None]]:
        try:
            yield from self._read(tables, more)
        except DestinationUndefinedEntity:
            # Not all of the tables exist: none before the first load, some where only some were selected.
            existing = [table for table in tables if self._exists(table)]
            if existing and self._exists(self._schema.loads_table_name):
                yield from self._read(existing, [table for table in more if self._exists(table)])

    def _exists(self, table: str) -> bool:
        try:
            with self._client.execute_query(f"SELECT 1 FROM {self._table(table)} WHERE 1 = 0"):  # noqa: S608 - a constant
                return True
        except DestinationUndefinedEntity:
            return False

    def _read(self, tables: Sequence[str], more: Sequence[str]) -> Iterator[tuple[str, LedgerEntry | None]]:
        self._deferred = DEFERRED_BATCH_IDS.name if DEFERRED_BATCH_IDS.name in more else None
        # First the one whose point in time is never a mere NULL, which Postgres would take for text.
        parts = [self._deferrals(len(tables))] if self._deferred else []
        parts += [self._fetches(table, number, len(tables)) for number, table in enumerate(tables)]
        parts += [self._failed_fetches(len(tables))] if BATCH_ERRORS.name in more else []
        named = len(tables)
        loaded = " + ".join(f"MAX(loaded_{number})" for number in range(len(tables)))
        is_loaded = f"{loaded} = {self._tables_wanted}"
        # No points in time of what is loaded: to make them takes most of the time, where a million batches are.
        sql = (
            "SELECT batch_id,"  # noqa: S608
            f" CASE WHEN {is_loaded} THEN NULL ELSE MAX(pending) + {_HAS_RESULTS} * MAX(has_results)"
            f" + {_GIVEN_UP} * MAX(given_up) + {_UNKNOWN_ANSWER} * MAX(unknown_answers) END,"
            f" CASE WHEN {is_loaded} THEN NULL ELSE MAX(last_fetched) END,"
            f" CASE WHEN {is_loaded} THEN NULL ELSE MIN(first_seen) END,"
            f" CASE WHEN {is_loaded} THEN NULL ELSE MAX(CASE WHEN failed = 1 THEN last_fetched END) END"
            f" FROM ({' UNION ALL '.join(parts)}) fetches GROUP BY batch_id"
        )
        with self._client.execute_query(sql, *(list(self._batch_ids or ()) * named)) as cursor:
            while rows := cursor.fetchmany(LEDGER_FETCH_ROWS):
                for batch_id, flags, last_fetched_at, first_seen, last_failed_at in rows:
                    if flags is None:
                        yield batch_id, None
                    else:
                        has_failed = last_failed_at is not None and last_failed_at == last_fetched_at
                        yield batch_id, _entry(int(flags), last_fetched_at, first_seen, has_failed=has_failed)

    def _fetches(self, table: str, number: int, tables: int) -> str:
        """Select the rows of one table: loaded where the state is final and the load was completed."""
        batch_id, loaded = self._column("t", "batch_id"), "l.done = 1"
        final = f"{self._column('t', 'status')} IN ({self._final}) AND {loaded}" if self._final else "1 = 0"
        is_loaded = f"CASE WHEN {final} THEN 1 ELSE 0 END"
        flags = [f"{is_loaded if n == number else 0} AS loaded_{n}" for n in range(tables)]
        counts = f"CASE WHEN {self._column('t', 'results_loaded')} > 0 THEN 1 ELSE 0 END"
        has_results = counts if table == PHONE_RESULTS_LEDGER.name else "0"
        load_id = self._column("", self._schema.naming.normalize_identifier("load_id"))
        status = self._column("", self._schema.naming.normalize_identifier("status"))
        return (
            f"SELECT {batch_id} AS batch_id, {self._column('t', 'fetched_at')} AS last_fetched, {', '.join(flags)},"  # noqa: S608
            f" 1 - {is_loaded} AS pending, {self._first_seen(table)} AS first_seen, {has_results} AS has_results,"
            " 0 AS given_up, 0 AS unknown_answers, 0 AS failed"
            f" FROM {self._table(table)} t LEFT JOIN (SELECT {load_id} AS load_id, 1 AS done"
            f" FROM {self._table(self._schema.loads_table_name)} WHERE {status} = 0) l"
            f" ON l.load_id = {self._column('t', '_dlt_load_id')}" + self._narrow(f"{is_loaded} = 0")
        )

    def _failed_fetches(self, tables: int) -> str:
        """Select when each batch was last fetched in vain; of pending ones too, which no input names."""
        flags = ", ".join(f"0 AS loaded_{n}" for n in range(tables))
        batch_id, failed_at = self._column("t", "batch_id"), f"MAX({self._column('t', 'fetched_at')})"
        return (
            f"SELECT {batch_id}, {failed_at}, {flags}, 0, NULL, 0, 0, 0, 1"  # noqa: S608
            f" FROM {self._table(BATCH_ERRORS.name)} t GROUP BY {batch_id}"
        )

    def _deferrals(self, tables: int) -> str:
        """Select the ids that are to be fetched, unless a table above has their batch for good."""
        flags = ", ".join(f"0 AS loaded_{n}" for n in range(tables))
        given_up = f"CASE WHEN {self._column('t', 'given_up_at')} IS NULL THEN 0 ELSE 1 END"
        return (
            f"SELECT {self._column('t', 'batch_id')} AS batch_id, NULL AS last_fetched, {flags},"  # noqa: S608
            f" 1 - {given_up} AS pending,"
            f" {self._column('t', 'deferred_at')} AS first_seen, 0 AS has_results, {given_up} AS given_up,"
            f" 1 + {self._column('t', 'unknown_answers')} AS unknown_answers, 0 AS failed"
            f" FROM {self._table(DEFERRED_BATCH_IDS.name)} t"
        )

    def _first_seen(self, table: str) -> str:
        columns = self._schema.tables.get(table, {}).get("columns", {})
        return self._column("t", "first_seen_at") if "first_seen_at" in columns else "NULL"

    def _narrow(self, always: str) -> str:
        """Narrow to the batch_ids, where they are few, and to the rows that are wanted in any case."""
        if self._batch_ids is None:
            return ""
        if self._deferred is not None:
            ids = f"SELECT {self._column('', 'batch_id')} FROM {self._table(DEFERRED_BATCH_IDS.name)}"  # noqa: S608 - escaped names
            always += f" OR {self._column('t', 'batch_id')} IN ({ids})"
        if not self._batch_ids:
            return f" WHERE {always}"
        names = ", ".join(["%s"] * len(self._batch_ids))
        return f" WHERE ({self._column('t', 'batch_id')} IN ({names}) OR {always})"

    def _table(self, name: str) -> str:
        return self._client.make_qualified_table_name(name)

    def _column(self, alias: str, name: str) -> str:
        return (f"{alias}." if alias else "") + self._client.escape_column_name(name)


def _entry(
    flags: int, last_fetched_at: datetime | None, first_seen: datetime | None, *, has_failed: bool
) -> LedgerEntry:
    answers = flags // _UNKNOWN_ANSWER  # one more than there were, where the id is deferred
    return LedgerEntry(
        _utc(last_fetched_at),
        is_pending=flags % 2 == 1,
        first_seen=_utc(first_seen),
        has_results=bool(flags & _HAS_RESULTS),
        is_given_up=bool(flags & _GIVEN_UP),
        unknown_answers=answers - 1 if answers else None,
        has_failed=has_failed,
    )


def _utc(at: datetime | None) -> datetime | None:
    """Some destinations leave the time zone out."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
