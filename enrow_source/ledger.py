"""Which batches the destination already holds, and so which ones a run looks at.

The destination is the ledger: a batch counts as loaded only where each selected table holds it in a final state,
under a load that `_dlt_loads` says was completed. A load that was killed half-way leaves rows without that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable

from .models import BatchStatus
from .settings import LEDGER_FETCH_ROWS, LEDGER_NARROW_IDS

if TYPE_CHECKING:
    from dlt.common.schema import Schema
    from dlt.destinations.sql_client import SqlClientBase


_COUNTED: Final = "phone_results_ledger"
"""The table that tells how many results of a batch were loaded."""
_HAS_RESULTS: Final = 2
"""Added to what tells whether a batch is pending, so that both come in one column."""
DEFERRED: Final = "deferred_batch_ids"
"""The table of ids that were read and not looked at, which is read along."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger knows of one batch that is not loaded for good."""

    batch_id: str
    last_look: datetime | None
    """When the batch was last looked at; None where it never was."""
    is_pending: bool
    """Whether some row of it is not final: it is looked at again, also when its id is not given any more."""
    first_seen: datetime | None = None
    """When a run first knew of it."""
    has_results: bool = False
    """Whether the destination has rows of it in `phone_results`."""


Known = Entry | str
"""An entry; the id alone of a batch that each selected table has for good, since there may be a million of them."""


class Noted:
    """What a run has to remember of the entries of the ledger, gathered while they are read."""

    def __init__(self) -> None:
        self.pending: set[str] = set()
        """They come back by themselves."""
        self.first_seen: dict[str, datetime] = {}
        """When a run first knew of a batch that is not loaded."""
        self.with_results: set[str] = set()
        """Batches that have rows in `phone_results` and may be looked at."""

    def noting(self, entries: Iterable[Known]) -> Iterator[Known]:
        """Pass the entries on."""
        for entry in entries:
            if not isinstance(entry, str):
                if entry.has_results:
                    self.with_results.add(entry.batch_id)
                if entry.is_pending:
                    self.pending.add(entry.batch_id)
                if entry.first_seen is not None:
                    # Some destinations leave the time zone out.
                    seen = entry.first_seen if entry.first_seen.tzinfo else entry.first_seen.replace(tzinfo=UTC)
                    self.first_seen[entry.batch_id] = seen
            yield entry

    def older_than(self, hours: float | None, batch_ids: Iterable[str]) -> dict[str, datetime]:
        """Return those of the batches that have been pending for so long, and since when."""
        if hours is None:
            return {}
        limit = datetime.now(UTC) - timedelta(hours=hours)
        since = {i: self.first_seen[i] for i in batch_ids if i in self.pending and i in self.first_seen}
        return {batch_id: first_seen for batch_id, first_seen in since.items() if first_seen < limit}


def due_batches(candidates: Iterable[str], entries: Iterable[Known]) -> list[str]:
    """Return the ids to look at: never seen ones first, in the order given, then those seen longest ago first.

    Ids that an earlier run has read and not looked at go before those that are new.
    """
    deferred: list[str] = []
    due: dict[str, datetime | None] = dict.fromkeys(candidates)
    for entry in entries:
        if isinstance(entry, str):
            due.pop(entry, None)
        elif entry.is_pending or entry.batch_id in due:
            due[entry.batch_id] = entry.last_look
            if entry.last_look is None:
                deferred.append(entry.batch_id)
    never = [batch_id for batch_id, last_look in due.items() if last_look is None]
    again = [(last_look, batch_id) for batch_id, last_look in due.items() if last_look is not None]
    return list(dict.fromkeys(deferred + never)) + [batch_id for _, batch_id in sorted(again)]


def is_emptied(resources: Iterable[str]) -> bool:
    """Tell whether this run empties the table of some resource when its load starts, after the ledger was read."""
    try:
        package = dlt.current.load_package_state()["state"]
    except CurrentLoadPackageStateNotAvailable:
        return False
    known = dlt.current.source().resources
    return bool(package.get("refresh")) or any(known[name].write_disposition == "replace" for name in resources)


def read_ledger(
    evidence: dict[str, str], log: str | None, candidates: Sequence[str], *, retry_failed: bool
) -> Iterator[Known]:
    """Read what the destination of the running pipeline knows; nothing outside a pipeline or before its first load.

    Args:
        evidence: The selected resources, and for each the table that has a row for each batch it loaded.
        log: A table of looks that failed, to learn when a batch was last looked at; None to leave it out.
        candidates: The ids given; where they are few, only they and the pending ones are read.
        retry_failed: Whether a failed batch counts as pending.
    """
    try:
        package = dlt.current.load_package_state()["state"]
    except CurrentLoadPackageStateNotAvailable:
        return
    # Both drop or empty tables when the load starts, after this was read.
    if package.get("refresh"):
        return
    resources = dlt.current.source().resources
    kept = [table for name, table in evidence.items() if resources[name].write_disposition != "replace"]
    if not kept or dlt.current.pipeline().destination is None:
        return

    final = [s.value for s in BatchStatus if s.is_terminal and not (retry_failed and s is BatchStatus.FAILED)]
    pipeline, schema = dlt.current.pipeline(), dlt.current.source_schema()
    # A pipeline does not know the schema of a source before its first run.
    names = {"schema_name": schema.name} if schema.name in pipeline.schemas else {}
    with pipeline.sql_client(**names) as client:
        statement = _Statement(client, schema, final, len(evidence), candidates)
        yield from statement.entries(kept, [table for table in (log, DEFERRED) if table in schema.tables])


class _Statement:
    """The one statement that reads the ledger."""

    def __init__(
        self,
        client: SqlClientBase[Any],
        schema: Schema,
        final: Sequence[str],
        tables_wanted: int,
        candidates: Sequence[str],
    ) -> None:
        self._client = client
        self._schema = schema
        self._final = ", ".join(f"'{word}'" for word in final)
        self._tables_wanted = tables_wanted
        self._candidates = candidates if len(candidates) <= LEDGER_NARROW_IDS else None
        self._deferred: str | None = None

    def entries(self, evidence: Sequence[str], more: Sequence[str]) -> Iterator[Known]:
        try:
            yield from self._read(evidence, more)
        except DestinationUndefinedEntity:
            # Not all of the tables exist: none before the first load, some where only some were selected.
            existing = [table for table in evidence if self._exists(table)]
            if existing and self._exists(self._schema.loads_table_name):
                yield from self._read(existing, [table for table in more if self._exists(table)])

    def _exists(self, table: str) -> bool:
        try:
            with self._client.execute_query(f"SELECT 1 FROM {self._table(table)} WHERE 1 = 0"):  # noqa: S608 - a constant
                return True
        except DestinationUndefinedEntity:
            return False

    def _read(self, evidence: Sequence[str], more: Sequence[str]) -> Iterator[Known]:
        self._deferred = DEFERRED if DEFERRED in more else None
        parts = [self._looks(table, number, len(evidence)) for number, table in enumerate(evidence)]
        parts += [
            self._deferrals(len(evidence)) if table == DEFERRED else self._failed_looks(table, len(evidence))
            for table in more
        ]
        named = len(parts) - (self._deferred is not None)
        loaded = " + ".join(f"MAX(loaded_{number})" for number in range(len(evidence)))
        is_loaded = f"{loaded} = {self._tables_wanted}"
        # No points in time of what is loaded: to make them takes most of the time, where a million batches are.
        sql = (
            "SELECT batch_id,"  # noqa: S608
            f" CASE WHEN {is_loaded} THEN NULL ELSE MAX(pending) + {_HAS_RESULTS} * MAX(has_results) END,"
            f" CASE WHEN {is_loaded} THEN NULL ELSE MAX(looked_at) END,"
            f" CASE WHEN {is_loaded} THEN NULL ELSE MIN(first_seen) END"
            f" FROM ({' UNION ALL '.join(parts)}) looks GROUP BY batch_id"
        )
        with self._client.execute_query(sql, *(list(self._candidates or ()) * named)) as cursor:
            while rows := cursor.fetchmany(LEDGER_FETCH_ROWS):
                for batch_id, flags, last_look, first_seen in rows:
                    if flags is None:
                        yield batch_id
                    else:
                        yield Entry(batch_id, last_look, int(flags) % 2 == 1, first_seen, int(flags) >= _HAS_RESULTS)

    def _looks(self, table: str, number: int, tables: int) -> str:
        """Select the rows of one table: loaded where the state is final and the load was completed."""
        batch_id, loaded = self._column("t", "batch_id"), "l.done = 1"
        final = f"{self._column('t', 'status')} IN ({self._final}) AND {loaded}" if self._final else "1 = 0"
        is_loaded = f"CASE WHEN {final} THEN 1 ELSE 0 END"
        flags = [f"{is_loaded if n == number else 0} AS loaded_{n}" for n in range(tables)]
        counts = f"CASE WHEN {self._column('t', 'results_loaded')} > 0 THEN 1 ELSE 0 END"
        has_results = counts if table == _COUNTED else "0"
        load_id = self._column("", self._schema.naming.normalize_identifier("load_id"))
        status = self._column("", self._schema.naming.normalize_identifier("status"))
        return (
            f"SELECT {batch_id} AS batch_id, {self._column('t', 'fetched_at')} AS looked_at, {', '.join(flags)},"  # noqa: S608
            f" 1 - {is_loaded} AS pending, {self._first_seen(table)} AS first_seen, {has_results} AS has_results"
            f" FROM {self._table(table)} t LEFT JOIN (SELECT {load_id} AS load_id, 1 AS done"
            f" FROM {self._table(self._schema.loads_table_name)} WHERE {status} = 0) l"
            f" ON l.load_id = {self._column('t', '_dlt_load_id')}" + self._narrow(f"{is_loaded} = 0")
        )

    def _failed_looks(self, log: str, tables: int) -> str:
        flags = ", ".join(f"0 AS loaded_{n}" for n in range(tables))
        return (
            f"SELECT {self._column('t', 'batch_id')}, MAX({self._column('t', 'fetched_at')}), {flags}, 0, NULL, 0"  # noqa: S608
            f" FROM {self._table(log)} t{self._narrow('1 = 0')} GROUP BY {self._column('t', 'batch_id')}"
        )

    def _deferrals(self, tables: int) -> str:
        """Select the ids that are to be looked at, unless a table above has their batch for good."""
        flags = ", ".join(f"0 AS loaded_{n}" for n in range(tables))
        return (
            f"SELECT {self._column('t', 'batch_id')}, NULL, {flags}, 1, {self._column('t', 'deferred_at')}, 0"  # noqa: S608
            f" FROM {self._table(DEFERRED)} t"
        )

    def _first_seen(self, table: str) -> str:
        columns = self._schema.tables.get(table, {}).get("columns", {})
        return self._column("t", "first_seen_at") if "first_seen_at" in columns else "NULL"

    def _narrow(self, always: str) -> str:
        """Narrow to the candidates, where they are few, and to the rows that are wanted in any case."""
        if self._candidates is None:
            return ""
        if self._deferred is not None:
            ids = f"SELECT {self._column('', 'batch_id')} FROM {self._table(DEFERRED)}"  # noqa: S608 - escaped names
            always += f" OR {self._column('t', 'batch_id')} IN ({ids})"
        if not self._candidates:
            return f" WHERE {always}"
        names = ", ".join(["%s"] * len(self._candidates))
        return f" WHERE ({self._column('t', 'batch_id')} IN ({names}) OR {always})"

    def _table(self, name: str) -> str:
        return self._client.make_qualified_table_name(name)

    def _column(self, alias: str, name: str) -> str:
        return (f"{alias}." if alias else "") + self._client.escape_column_name(name)
