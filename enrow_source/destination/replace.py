"""Deletes, before a load, rows of `phone_results` that the load itself cannot replace.

A merge replaces a batch by the rows that come, so it leaves the old ones of a batch that comes back with none. And
Delta tables know no merge by batch at all: rows are appended to them, and what a batch had before goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.utils import chunks

from ..settings import DELETE_IDS
from ..tables.schema import PHONE_RESULTS, PHONE_RESULTS_LEDGER
from .delta import detach_from_load, matching, open_table
from .session import Session
from .sql import parameters

if TYPE_CHECKING:
    pass


def delete_superseded_results(session: Session, batch_ids: Sequence[str]) -> None:
    """Delete the rows of batches from `phone_results`.

    Their rows in the ledger leave their load first: whatever ends the run from here on, the next one fetches them.
    """
    if not batch_ids or session.pipeline is None:
        return
    if session.is_filesystem:
        _delete_from_lake(session, batch_ids)
    else:
        _delete_with_sql(session, batch_ids)


def _delete_from_lake(session: Session, batch_ids: Sequence[str]) -> None:
    schema_name = session.schema.name
    with session.lake() as lake:
        if not lake.is_storage_initialized():
            return  # and to open a table would make its folder
        with suppress(DestinationUndefinedEntity):  # nothing was ever loaded, or the ledger alone is gone
            detach_from_load(open_table(lake, schema_name, PHONE_RESULTS_LEDGER.name), batch_ids)
        with suppress(DestinationUndefinedEntity):
            matching(open_table(lake, schema_name, PHONE_RESULTS.name), batch_ids).when_matched_delete().execute()


def _delete_with_sql(session: Session, batch_ids: Sequence[str]) -> None:
    with session.sql_client() as client:
        batch_id, load_id = client.escape_column_name("batch_id"), client.escape_column_name("_dlt_load_id")
        ledger, results = (client.make_qualified_table_name(t.name) for t in (PHONE_RESULTS_LEDGER, PHONE_RESULTS))
        for some in chunks(batch_ids, DELETE_IDS):
            names = parameters(some)
            client.execute_sql(f"UPDATE {ledger} SET {load_id} = '' WHERE {batch_id} IN ({names})", *some)  # noqa: S608
            client.execute_sql(f"DELETE FROM {results} WHERE {batch_id} IN ({names})", *some)  # noqa: S608
