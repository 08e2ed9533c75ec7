"""Submissions that a load knows to be accepted: their batch ids, and the batches that name their submission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from dlt.common import logger
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.exceptions import DatabaseTerminalException

from ..settings import DELETE_IDS
from ..tables.schema import SUBMISSIONS

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase

    from ..api.models import Batch


def accepted_batch_ids(client: SqlClientBase[Any], ledger_tables: Sequence[str]) -> list[str]:
    """Return the batches that were accepted and that some ledger table does not have, the oldest first.

    Those that all of them have are the ledger's: it knows which of them have ended. Empty where nobody has submitted.

    Args:
        client: Of the destination.
        ledger_tables: Each has a row for every batch that it knows; none where the load empties one of them, or where
            one does not exist yet.
    """
    column, submissions = client.escape_column_name, client.make_qualified_table_name(SUBMISSIONS.name)
    sql = f"SELECT {column('batch_id')} FROM {submissions} WHERE {column('state')} = 'accepted'"  # noqa: S608 - escaped
    order = f" ORDER BY {column('created_at')}"
    known = " AND ".join(
        f"{column('batch_id')} IN (SELECT {column('batch_id')} FROM {client.make_qualified_table_name(table)})"  # noqa: S608
        for table in ledger_tables
    )
    try:
        rows = client.execute_sql(sql + (f" AND NOT ({known})" if known else "") + order)
    except DestinationUndefinedEntity:
        return []  # before the first submission
    except DatabaseTerminalException as error:
        # A table of that name is somebody else's.
        logger.warning(f"{SUBMISSIONS.name} is not the table of enrow submit, and is not read: {error}".split("\n")[0])
        return []
    return [batch_id for (batch_id,) in rows or () if batch_id]


RESOLVED_BY_HAND: Final = "resolved by hand"
"""The message of a submission that a person has given its batch; what the batch itself says overrules it."""


@dataclass(slots=True)
class AcceptedSubmissions:
    """Which batch each submission became, as the batches say that a run fetches."""

    batch_ids: dict[str, str] = field(default_factory=dict)
    """Batch id by submission."""
    in_doubt: set[str] = field(default_factory=set)
    """Submissions that the batches contradict: each is in the log, and none is corrected in silence."""

    def add(self, batch: Batch) -> None:
        """Read the submission in the `custom` of a batch; batches that others submitted have none."""
        if batch.custom is None or '"submission"' not in batch.custom:
            return
        try:
            custom = msgspec.json.decode(batch.custom)
        except (msgspec.DecodeError, RecursionError):
            return
        submission_id = custom.get("submission") if isinstance(custom, Mapping) else None
        if isinstance(submission_id, str):
            earlier = self.batch_ids.setdefault(submission_id, batch.batch_id)
            self._check_once(submission_id, earlier, batch.batch_id)

    def record(self, client: SqlClientBase[Any]) -> None:
        """Call accepted the submissions whose batches were seen."""
        column, table = client.escape_column_name, client.make_qualified_table_name(SUBMISSIONS.name)
        seen = list(self.batch_ids)
        for at in range(0, len(seen), DELETE_IDS):
            some = seen[at : at + DELETE_IDS]
            names = ", ".join(["%s"] * len(some))
            columns = ", ".join(map(column, ("submission_id", "state", "batch_id", "message")))
            sql = f"SELECT {columns} FROM {table} WHERE {column('submission_id')} IN ({names})"  # noqa: S608 - escaped names
            try:
                rows = client.execute_sql(sql, *some) or ()
            except DestinationUndefinedEntity:
                return  # they were submitted from another dataset
            self._correct(client, some)
            for submission_id, state, batch_id, message in rows:
                if state == "accepted" and (message != RESOLVED_BY_HAND or batch_id == self.batch_ids[submission_id]):
                    self._check_once(submission_id, batch_id, self.batch_ids[submission_id])
                    continue
                client.execute_sql(
                    f"UPDATE {table} SET {column('state')} = 'accepted', {column('batch_id')} = %s,"  # noqa: S608 - escaped
                    f" {column('ended_at')} = %s, {column('message')} = %s WHERE {column('submission_id')} = %s",
                    self.batch_ids[submission_id],
                    datetime.now(UTC),
                    f"it was {state}; the batch itself proves that it was accepted",
                    submission_id,
                )

    def _correct(self, client: SqlClientBase[Any], submission_ids: Sequence[str]) -> None:
        """Call unknown again a submission that a person gave the batch of another one, as the batch itself says."""
        column, table = client.escape_column_name, client.make_qualified_table_name(SUBMISSIONS.name)
        owners = {self.batch_ids[submission_id]: submission_id for submission_id in submission_ids}
        names = ", ".join(["%s"] * len(owners))
        sql = (
            f"SELECT {column('submission_id')}, {column('batch_id')} FROM {table}"  # noqa: S608 - escaped names
            f" WHERE {column('batch_id')} IN ({names}) AND {column('message')} = '{RESOLVED_BY_HAND}'"
        )
        for submission_id, batch_id in client.execute_sql(sql, *owners) or ():
            if submission_id == owners[batch_id]:
                continue
            message = f"resolved by hand with batch {batch_id}, which is that of submission {owners[batch_id]}"
            logger.error(f"submission {submission_id} was {message}: it is unknown again")
            self.in_doubt.add(submission_id)
            client.execute_sql(
                f"UPDATE {table} SET {column('state')} = 'unknown', {column('batch_id')} = NULL,"  # noqa: S608 - escaped
                f" {column('ended_at')} = NULL, {column('message')} = %s WHERE {column('submission_id')} = %s",
                message,
                submission_id,
            )

    def _check_once(self, submission_id: str, batch_id: str, other: str) -> None:
        if batch_id != other:
            self.in_doubt.add(submission_id)
            logger.error(
                f"submission {submission_id} became two batches, {batch_id!r:.80} and {other!r:.80}: check who else"
                " sends its custom, since its people may have been paid for twice"
            )
