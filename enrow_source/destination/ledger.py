"""What the destination holds of each batch, read in one statement, and in more where some table lacks a batch.

The destination is the ledger: a batch counts as loaded only where each selected table holds it in a final state,
under a load that `_dlt_loads` says was completed. A load that was killed half-way leaves rows without that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.utils import chunks

from ..api.models import BatchStatus
from ..settings import DELETE_IDS, LEDGER_NARROW_IDS
from ..tables.schema import BATCH_ERRORS, BATCHES, DEFERRED_BATCH_IDS, LEDGER_TABLES, PHONE_RESULTS
from . import repair
from .ledger_rows import Row
from .session import Session
from .sql import parameters, utc
from .statement import LedgerStatement
from .suppressions import read_erasures

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


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
    deferred_at: datetime | None = None
    """When it was deferred; None where it is not."""
    has_failed: bool = False
    """Whether its last fetch failed."""
    is_unfinished: bool = False
    """Whether some row of it is under a load that was killed, or is under way."""


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """The ledger as this run reads it, complete."""

    missing: Sequence[str] = ()
    """The ids of the input that are not loaded for good, in their order."""
    entries: Mapping[str, LedgerEntry] = field(default_factory=dict)
    """What is known of each batch that is not loaded for good."""
    begun: Sequence[str] = ()
    """Loads that have begun and are not complete, under way or killed, whose rows go before others come."""
    erasures: frozenset[str] = frozenset()
    """Loads that wrote down an erasure."""
    gone: frozenset[str] = frozenset()
    """Tables that earlier loads made, and that are gone from the destination: this load makes them again."""


def read_ledger(
    session: Session, batch_ids: Sequence[str], again: frozenset[str] = frozenset(), *, retry_failed: bool
) -> LedgerSnapshot:
    """Read what the destination knows; nothing outside a pipeline or before its first load.

    Args:
        session: The running extraction.
        batch_ids: The ids of the input; where they are few, only they and the pending ones are read.
        again: Those of them that are to be fetched although they are loaded.
        retry_failed: Whether a failed batch counts as pending.
    """
    if session.destination_type is None or not any(name in session.resources for name in LEDGER_TABLES):
        return LedgerSnapshot(tuple(dict.fromkeys(batch_ids)))
    final = [s.value for s in BatchStatus if s.is_terminal and not (retry_failed and s is BatchStatus.FAILED)]
    wanted = sum(name in session.resources for name in LEDGER_TABLES)
    with session.sql_client() as client:
        statement = LedgerStatement(client, session.schema, final, wanted)
        reader = _Reader(session, statement, batch_ids, again)
        found = reader.read()
        if not reader.has_read and statement.has_loads and not session.is_filesystem:
            found.erasures = read_erasures(client, session.schema)  # the statement reads them with the batches
        if BATCHES.name in session.resources and (again or not session.keeps_rows(BATCHES.name)):
            for batch_id, first_seen in _first_seen(client, found.missing).items():
                entry = found.entries.get(batch_id, LedgerEntry(None, is_pending=False))
                found.entries[batch_id] = replace(entry, first_seen=first_seen)
    return LedgerSnapshot(
        tuple(found.missing), found.entries, tuple(found.begun), frozenset(found.erasures), reader.gone
    )


@dataclass(slots=True)
class _Found:
    """The rows of the statement, in whatever order, without those of loaded batches: there may be a million of them."""

    missing: dict[str, None]
    again: frozenset[str] = frozenset()
    entries: dict[str, LedgerEntry] = field(default_factory=dict)
    has_no_loads: bool = False
    begun: dict[str, None] = field(default_factory=dict)
    erasures: set[str] = field(default_factory=set)
    loaded_deferrals: list[str] = field(default_factory=list)
    loaded_again: set[str] = field(default_factory=set)
    is_partial: bool = False
    """Whether some table has final rows of batches that another one lacks, and all loaded batches were read."""

    def add(self, rows: Iterable[Row | str]) -> None:
        loaded, final_rows = 0, set[int]()
        for row in rows:
            if isinstance(row, str):
                loaded += 1
                self._add_loaded(row)
            elif row.is_begun:
                self.begun[row.batch_id] = None
            elif row.is_erasure:
                self.erasures.add(row.batch_id)
            elif row.final_rows is not None:
                final_rows.add(row.final_rows)
            elif row.is_loaded:
                self.loaded_deferrals.append(row.batch_id)
                self._add_loaded(row.batch_id)
            else:
                self.has_no_loads |= row.has_no_loads
                if row.batch_id in self.loaded_again:
                    continue  # where many ids are read, a failed fetch of it is a row of its own
                if row.is_pending or row.is_unfinished or row.is_given_up or row.batch_id in self.missing:
                    self.entries[row.batch_id] = LedgerEntry(
                        row.last_fetched_at,
                        row.is_pending,
                        row.first_seen,
                        row.has_results,
                        is_given_up=row.is_given_up,
                        unknown_answers=row.unknown_answers,
                        deferred_at=row.deferred_at,
                        has_failed=row.has_failed,
                        is_unfinished=row.is_unfinished,
                    )
        self.is_partial = bool(final_rows - {loaded})

    def _add_loaded(self, batch_id: str) -> None:
        if batch_id in self.again:
            # It may have rows that the new answer has not.
            self.loaded_again.add(batch_id)
            self.entries[batch_id] = LedgerEntry(None, is_pending=False, has_results=True)
        else:
            self.missing.pop(batch_id, None)
            self.entries.pop(batch_id, None)


class _Reader:
    """Reads the rows, and repairs what they stand for where it is gone."""

    def __init__(
        self, session: Session, statement: LedgerStatement, batch_ids: Sequence[str], again: frozenset[str]
    ) -> None:
        self._session = session
        self._again = again
        self._statement = statement
        self._batch_ids = batch_ids
        # Tables that the load drops or empties when it starts, after this was read, hold nothing.
        kept = [name for name in LEDGER_TABLES if name in session.resources and session.keeps_rows(name)]
        self._tables = [LEDGER_TABLES[name] for name in kept]
        self._more: list[str] = []
        # Nothing is read from them; but where results are gone, their ledger proves nothing.
        empty = [name for name in (PHONE_RESULTS.name, BATCH_ERRORS.name) if name in session.resources]
        empty = [name for name in empty if session.keeps_rows(name)] + [session.schema.state_table_name]
        self._empty = [name for name in empty if name in session.schema.tables]
        self.gone: frozenset[str] = frozenset()
        self.has_read = False
        """Whether a table was read: none is where all are gone, or this load drops or empties them."""

    def read(self) -> _Found:
        if not self._tables:
            return self._read()
        more = (BATCH_ERRORS.name, DEFERRED_BATCH_IDS.name)
        self._more = [name for name in more if name in self._session.schema.tables]
        try:
            found = self._read()
        except DestinationUndefinedEntity:
            # None of the tables exists before the first load, and not all do where some were selected or dropped.
            self._leave_out_what_does_not_exist()
            found = self._read()
        if found.has_no_loads:
            self._statement.trusted_loads = repair.known_loads(self._session, self._statement.client, self._tables)
            found = self._read() if self._statement.trusted_loads else found
        if self._is_without_state() and (found.entries or len(found.missing) < len(self._batch_ids)):
            # Neither has dlt its own tables, then: what it made of them may be missing too.
            self.gone |= {self._session.schema.state_table_name}
            repair.check_tables(self._session, LEDGER_TABLES.values())
        if found.loaded_deferrals:
            repair.delete_deferrals(self._session, self._statement, self._tables, found.loaded_deferrals)
        return found

    def _is_without_state(self) -> bool:
        """Whether dlt found nothing of the pipeline, neither here nor at the destination."""
        pipeline = self._session.pipeline
        return pipeline is not None and self._session.schema.name not in pipeline.schemas

    def _read(self) -> _Found:
        found = _Found(dict.fromkeys(self._batch_ids), self._again)
        read = partial(self._statement.rows, self._tables, self._more, self._empty)
        if self._tables:
            found.add(read(self._batch_ids if len(self._batch_ids) <= LEDGER_NARROW_IDS else None))
            self.has_read = True
        if found.is_partial:
            for some in chunks(list(found.missing), DELETE_IDS):
                found.add(read(some))
        return found

    def _leave_out_what_does_not_exist(self) -> None:
        loads = self._session.schema.loads_table_name
        wanted = (*self._tables, *self._more, *self._empty, loads)
        absent = frozenset(name for name in wanted if not self._statement.exists(name))
        self._statement.has_loads = loads not in absent
        self._tables = [name for name in self._tables if name not in absent]
        self._more = [name for name in self._more if name not in absent]
        self._empty = [name for name in self._empty if name not in absent]
        self.gone = repair.gone_tables(self._session, absent)
        if self.gone:
            repair.make_again(self._session, self._statement.client, self.gone)


def _first_seen(client: SqlClientBase[Any], batch_ids: Mapping[str, None]) -> dict[str, datetime]:
    """Read when batches were first seen from a table that this load drops or empties."""
    table, batch_id = client.make_qualified_table_name(BATCHES.name), client.escape_column_name("batch_id")
    named = list(batch_ids) if len(batch_ids) <= LEDGER_NARROW_IDS else []
    names = f" WHERE {batch_id} IN ({parameters(named)})" if named else ""
    sql = f"SELECT {batch_id}, {client.escape_column_name('first_seen_at')} FROM {table}{names}"  # noqa: S608 - escaped names
    if not batch_ids:
        return {}
    try:
        rows = client.execute_sql(sql, *named) or ()
    except DestinationUndefinedEntity:
        return {}
    return {name: at for name, seen in rows if name in batch_ids and (at := utc(seen)) is not None}
