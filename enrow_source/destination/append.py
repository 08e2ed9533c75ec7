"""What a load may append instead of merging it: rows of batches that the tables have nothing of.

An appended row is written once; dlt merges by way of a staging table, with a dozen statements more. Whether a batch is
new is read twice: from the ledger when the ids are planned, and again when the load begins, under the lock on the
dataset. Where another run has loaded one of the batches in the meantime, the load merges.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.utils import chunks

from ..settings import DELETE_IDS
from ..tables.schema import BATCH_ERRORS, LEDGER_TABLES, PHONE_RESULTS
from .load_status import select_begun
from .orphans import remove_orphans_of_killed
from .session import DUCKDB, POSTGRES, Session
from .sql import parameters
from .suppressions import refuse_unknown, select_erasures

if TYPE_CHECKING:
    from dlt.common.schema import Schema
    from dlt.destinations.sql_client import SqlClientBase

    from .ledger import LedgerSnapshot

_ROW: Final = ""
"""Stands for a row of a batch, among the names of loads."""

_ERASED: Final = "erased "
"""Before the name of a load that wrote down an erasure."""

_APPENDED: Final[Any] = {"disposition": "append"}
"""The write disposition of what is appended; a caller's own one is a text."""


def append_new_batches(
    session: Session, ledger: LedgerSnapshot, fetch: Sequence[str], with_results: AbstractSet[str]
) -> list[str]:
    """Let the load append what is new by the ledger; return the tables that it appends to.

    Only where the lock on the dataset ends with its holder: one that holds a lease and hangs loads when it wakes up,
    and then a merge is right where others have loaded. `with_results` has the batches with rows in `phone_results`.
    """
    pipeline = session.pipeline
    # Without a trace nothing is called before dlt reads the schema of a package.
    if session.destination_type not in (DUCKDB, POSTGRES) or not pipeline or not pipeline.config.enable_runtime_trace:
        return []
    names = [name for name in LEDGER_TABLES if name in session.resources]
    is_kept = all(session.resources[name].write_disposition == "merge" and session.keeps_rows(name) for name in names)
    if not is_kept or ledger.gone:
        return []
    if ledger.entries.keys().isdisjoint(fetch):
        more = session.resources.get(BATCH_ERRORS.name)
        if more is not None and more.write_disposition == "merge":
            more.apply_hints(write_disposition=_APPENDED)  # without a merge nothing is staged at all
        tables = [*names, *(LEDGER_TABLES[name] for name in names if LEDGER_TABLES[name] != name)]
    else:
        names = [name for name in names if name == PHONE_RESULTS.name and with_results.isdisjoint(fetch)]
        tables = names
    for name in names:
        session.resources[name].apply_hints(write_disposition=_APPENDED)
    return tables


def merge_as_declared(session: Session) -> None:
    """Take back what an earlier run of the same source has set."""
    for name in (*LEDGER_TABLES, BATCH_ERRORS.name):
        if name in session.resources and session.resources[name].write_disposition == _APPENDED:
            session.resources[name].apply_hints(write_disposition="merge")


def are_loaded(session: Session, tables: Collection[str], batch_ids: Sequence[str], erasures: Collection[str]) -> bool:
    """Whether one of the tables has a row of one of the batches; to be asked where the lock on the dataset is held.

    Results that killed loads have left go first; Postgres may still be about to commit some. Raises RunError where
    something was erased since, other than those `erasures`.
    """
    with session.sql_client() as client:
        found = _find(client, session.schema, tables, batch_ids)
        erased = {name for name in found if name.startswith(_ERASED)}
        refuse_unknown({name.removeprefix(_ERASED) for name in erased}, erasures)
        if begun := found - erased - {_ROW}:
            remove_orphans_of_killed(session, sorted(begun))
            found = _find(client, session.schema, tables, batch_ids)
        return _ROW in found


def _find(client: SqlClientBase[Any], schema: Schema, tables: Collection[str], batch_ids: Sequence[str]) -> set[str]:
    """Return `_ROW` where there is a row of a batch, loads that have begun and are not complete, and erasures."""
    batch_id, qualified = client.escape_column_name("batch_id"), client.make_qualified_table_name
    of_loads = [select_begun(client, schema), select_erasures(client, schema, _ERASED)]
    found: set[str] = set()
    for some in chunks(batch_ids, DELETE_IDS):
        names = parameters(some)
        parts = [f"SELECT '{_ROW}' FROM {qualified(name)} WHERE {batch_id} IN ({names})" for name in tables]  # noqa: S608
        found.update(_select(client, [*parts, *of_loads], some))
    return found


def _select(client: SqlClientBase[Any], parts: Sequence[str], names: Sequence[str]) -> list[str]:
    """Read the first column of some queries at once, or one by one where a table does not exist yet."""
    parameters = [name for part in parts if "%s" in part for name in names]
    try:
        return [row[0] for row in client.execute_sql(" UNION ".join(parts), *parameters) or ()]
    except DestinationUndefinedEntity:
        return [name for part in parts for name in _select(client, [part], names)] if len(parts) > 1 else []
