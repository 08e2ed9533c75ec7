"""Repairs what the ledger stands on: tables that were dropped by hand, loads that `_dlt_loads` has no more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from dlt.common import logger
from dlt.common.destination.client import WithStateSync
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.utils import chunks

from ..settings import DELETE_IDS
from ..tables.schema import DEFERRED_BATCH_IDS, LEDGER_TABLES, PHONE_RESULTS, PHONE_RESULTS_LEDGER, RUNS
from .delta import detach_from_load, matching, open_table
from .session import Session
from .sql import parameters

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.sql_client import SqlClientBase

    from .statement import LedgerStatement

_MADE_AGAIN_BY: Final = "x-made-again-by"
"""In the schema: the load that makes a table again."""

_NO_LOAD: Final = ""
"""In place of a load: the row counts as loaded no more, whatever becomes of `_dlt_loads`."""


def gone_tables(session: Session, absent: frozenset[str]) -> frozenset[str]:
    """Return those of the absent tables that an earlier load has made.

    What the destination says of itself is asked, not the working folder: it also has the tables of a load that was
    killed before it made them.
    """
    pipeline = session.pipeline
    if pipeline is None or session.schema.name not in pipeline.schemas:
        return frozenset()
    with pipeline.destination_client(session.schema.name) as client:
        try:
            stored = client.get_stored_schema(session.schema.name) if isinstance(client, WithStateSync) else None
        except DestinationUndefinedEntity:
            return frozenset()  # dlt makes all tables that are missing
    return absent.intersection(json.loads(stored.schema)["tables"]) if stored is not None else frozenset()


def make_again(session: Session, client: SqlClientBase[Any], gone: frozenset[str]) -> None:
    """Let this load make the tables again, and let this run and later ones fetch what was in them."""
    named = ", ".join(sorted(gone))
    logger.warning(f"gone from the destination: {named}. This load makes it again, and fetches again what was in it")
    check_tables(session, [name for name in gone if not name.startswith("_dlt")] or LEDGER_TABLES.values())
    if gone.intersection(LEDGER_TABLES.values()):
        for table in LEDGER_TABLES.values():
            _detach(session, client, table, None)
    elif PHONE_RESULTS.name in gone:
        _detach(session, client, PHONE_RESULTS_LEDGER.name, None)


def check_tables(session: Session, names: Iterable[str]) -> None:
    """Let dlt compare all tables with the destination: it does so for a schema alone that it has not stored yet."""
    for name in names:
        table: Any = {"name": name, "columns": {}, _MADE_AGAIN_BY: session.load_id}
        session.schema.update_table(table)


def detach(session: Session, batch_ids: Sequence[str]) -> None:
    """Let the batches count as not loaded, also when `_dlt_loads` has forgotten that their load was killed."""
    if batch_ids:
        with session.sql_client() as client:
            for table in LEDGER_TABLES.values():
                _detach(session, client, table, batch_ids)


def _detach(session: Session, client: SqlClientBase[Any], table: str, batch_ids: Sequence[str] | None) -> None:
    """Take the rows of a table out of their load: those of the batches, or all."""
    try:
        if session.is_filesystem:
            with session.lake() as lake:
                found = open_table(lake, session.schema.name, table)
                if batch_ids is None:
                    found.update(updates={"_dlt_load_id": f"'{_NO_LOAD}'"})
                else:
                    detach_from_load(found, batch_ids)
            return
        load_id, name = client.escape_column_name("_dlt_load_id"), client.make_qualified_table_name(table)
        update = f"UPDATE {name} SET {load_id} = '{_NO_LOAD}'"  # noqa: S608 - escaped names
        if batch_ids is None:
            client.execute_sql(f"{update} WHERE {load_id} <> '{_NO_LOAD}'")
        for some in chunks(batch_ids or (), DELETE_IDS):
            names = parameters(some)
            client.execute_sql(f"{update} WHERE {client.escape_column_name('batch_id')} IN ({names})", *some)
    except DestinationUndefinedEntity:
        return


def known_loads(session: Session, client: SqlClientBase[Any], tables: Iterable[str]) -> frozenset[str]:
    """Return the loads that were completed, of those that rows are under, where `_dlt_loads` has none any more.

    The working folder knows those that it has loaded, and `enrow_runs` those of each run.
    """
    load_id = client.escape_column_name("_dlt_load_id")
    found: set[str] = set()
    for table in tables:
        sql = f"SELECT DISTINCT {load_id} FROM {client.make_qualified_table_name(table)}"  # noqa: S608 - escaped names
        found.update(name for (name,) in client.execute_sql(sql) or () if re.fullmatch(r"[0-9.]+", name))
    pipeline = cast("dlt.Pipeline", session.pipeline)
    here = found.intersection(pipeline.list_completed_load_packages())
    known = {name for name in here if pipeline.get_load_package_info(name).state == "loaded"}
    of_run = client.escape_column_name(client.capabilities.casefold_identifier("load_id"))
    try:
        runs = client.execute_sql(
            f"SELECT DISTINCT {of_run} FROM {client.make_qualified_table_name(RUNS)}"  # noqa: S608 - escaped names
        )
        known |= found.intersection(name for (name,) in runs or ())
    except DestinationUndefinedEntity:
        pass  # it is written by `run()` alone
    return frozenset(known)


def delete_deferrals(
    session: Session, statement: LedgerStatement, tables: Sequence[str], batch_ids: Sequence[str]
) -> None:
    """Delete the rows of `deferred_batch_ids` of batches that are loaded for good: every run would read them."""
    if not session.is_filesystem:
        statement.delete_loaded_deferrals(tables)
        return
    with session.lake() as lake:
        deferred = open_table(lake, session.schema.name, DEFERRED_BATCH_IDS.name)
        matching(deferred, batch_ids).when_matched_delete().execute()
