"""Submissions at the destination: what is read and written of them, as SQL that every destination with tables takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

import dlt
from dlt.common import logger
from dlt.destinations.job_client_impl import SqlJobClientBase

from ..destination.create_tables import create_tables
from ..destination.load_lock import database_file
from ..destination.session import SNOWFLAKE
from ..destination.sql import at_once, exists, insert
from ..errors import ConfigurationError
from ..settings import RECORD_ATTEMPTS, RECORD_WAIT_S, STREAM_ROWS
from ..tables.privacy import Pii, Privacy
from ..tables.schema import SUBMISSION_TABLES, SUBMISSIONS, SUBMITTED_SEARCHES
from .protocol import Submission, SubmissionOutcome, SubmissionState

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


SCHEMA: Final = "enrow_submissions"
"""The schema of the tables: what drops the tables of the source leaves them."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A row of `submissions`."""

    submission_id: str
    state: str
    batch_id: str | None
    searches: int
    credits_reserved: float
    credits_held: float | None
    campaign: str | None
    http_status: int | None
    message: str | None
    created_at: datetime
    ended_at: datetime | None


_SUBMITTED: Final = tuple(column.name for column in SUBMISSIONS.columns)


class Store:
    """Reads and writes submissions, over one connection that stays open: on DuckDB it keeps the file for the run.

    Raises:
        ConfigurationError: The destination has no tables that rows can be changed in.
    """

    def __init__(self, pipeline: dlt.Pipeline) -> None:
        client = pipeline.destination_client()
        if not isinstance(client, SqlJobClientBase):
            raise ConfigurationError(
                f"people cannot be submitted with {pipeline.destination.destination_name}: at most once needs a row"
                " that a conditional UPDATE takes, and files have none; submit with duckdb, postgres, snowflake or"
                " bigquery"
            )
        self.pipeline, self.job_client = pipeline, client

    def __enter__(self) -> Self:
        """Connect."""
        self.job_client.sql_client.open_connection()
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.job_client.sql_client.close_connection()

    @property
    def is_missing(self) -> bool:
        """Whether the destination is a DuckDB file that is not there: to read it would make it."""
        file = database_file(self.pipeline, self.job_client)
        return file is not None and not file.exists()

    @property
    def client(self) -> SqlClientBase[Any]:
        """The open connection."""
        if self.job_client.sql_client.native_connection is None:
            self.job_client.sql_client.open_connection()
        return self.job_client.sql_client

    def refresh(self) -> bool:
        """Make sure that what others have committed by now is read from now on; return whether that took a connection.

        An open session of Snowflake may miss it, a new one does not:
        https://docs.snowflake.com/en/sql-reference/transactions#read-consistency-across-sessions
        """
        if self.pipeline.destination.destination_type != SNOWFLAKE:
            return False
        self.job_client.sql_client.close_connection()
        self.job_client.sql_client.open_connection()
        return True

    def create_tables(self) -> None:
        """Create what is not there yet; another one may do so at the same time."""
        if all(self.has(table.name) for table in SUBMISSION_TABLES):
            return
        kind = str(self.pipeline.destination.destination_type)
        for last in (False, False, True):
            try:
                create_tables(kind, self.job_client, SCHEMA, SUBMISSION_TABLES)
            except Exception:  # drivers raise what they like where another one creates schema or tables
                if last:
                    raise
                time.sleep(RECORD_WAIT_S)
            else:
                return

    def has(self, table: str) -> bool:
        """Return whether there is such a table."""
        return exists(self.client, self.table(table))

    # Submissions ----------------------------------------------------------------------------------------------------

    def submissions(self, *states: SubmissionState) -> list[Submitted]:
        """Return the submissions in one of these states, or all; the oldest first."""
        columns = ", ".join(map(self.column, _SUBMITTED))
        words = ", ".join(f"'{state.value}'" for state in states)
        where = f" WHERE {self.column('state')} IN ({words})" if words else ""
        sql = f"SELECT {columns} FROM {self.table(SUBMISSIONS.name)}{where} ORDER BY {self.column('created_at')}"  # noqa: S608
        return [Submitted(*row) for row in self.client.execute_sql(sql) or ()]

    def commit_intent(self, submission: Submission, campaign: str | None, privacy: Privacy) -> None:
        """Commit the submission and its searches.

        The searches first, so that where there are no transactions the submission is never there without them.
        """
        searches = [
            {
                "submission_id": submission.submission_id,
                "index": index,
                "person_key": stored_key(person.key, privacy),
                "custom": privacy.text(person.custom, is_json=False),
            }
            for index, person in enumerate(submission.people)
        ]
        row = {
            "submission_id": submission.submission_id,
            "state": SubmissionState.INTENDED.value,
            "searches": len(searches),
            "credits_reserved": submission.credits_reserved,
            "campaign": campaign,
            "created_at": datetime.now(UTC),
        }
        with at_once(self.client):
            self.insert(SUBMITTED_SEARCHES.name, searches)
            self.insert(SUBMISSIONS.name, [row])

    def record(self, submission_id: str, outcome: SubmissionOutcome) -> bool:
        """Write down what became of a submission, again and again where it fails; return whether it is written.

        Accepted is a fact, whatever somebody has called it meanwhile; everything else gives way to it.
        """
        for attempt in range(RECORD_ATTEMPTS):
            try:
                self.set_outcome(submission_id, outcome)
            except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
                logger.warning(f"submission {submission_id} cannot be recorded: {type(error).__name__}; trying again")
                self._reconnect()
                time.sleep(RECORD_WAIT_S * 2**attempt)
            else:
                return True
        return False

    def set_outcome(self, submission_id: str, outcome: SubmissionOutcome) -> None:
        """Write down what became of a submission, unless it is known to be accepted."""
        values: dict[str, object] = {
            "state": outcome.state.value,
            "http_status": outcome.http_status,
            "message": outcome.message,
            "ended_at": None if outcome.state.is_open else datetime.now(UTC),
        }
        if outcome.state is SubmissionState.ACCEPTED:
            values |= {"batch_id": outcome.batch_id, "credits_held": outcome.credits_held}
        assignments, parameters = self._assignments(values)
        where = f"{self.column('submission_id')} = %s"
        if outcome.state is not SubmissionState.ACCEPTED:
            where += f" AND {self.column('state')} IN ('intended', 'unknown')"
        self.client.execute_sql(
            f"UPDATE {self.table(SUBMISSIONS.name)} SET {assignments} WHERE {where}",  # noqa: S608 - escaped names
            *parameters,
            submission_id,
        )

    def call_intended_unknown(self) -> None:
        """Call unknown what a run has intended that holds the lease no more: it died, or will record what it did."""
        self.client.execute_sql(
            f"UPDATE {self.table(SUBMISSIONS.name)} SET {self.column('state')} = 'unknown',"  # noqa: S608 - escaped names
            f" {self.column('message')} = %s WHERE {self.column('state')} = 'intended'",
            "the run that was to send it has not recorded what became of it",
        )

    # SQL ------------------------------------------------------------------------------------------------------------

    def stream(self, columns: Sequence[str], tables: str) -> Iterator[tuple[Any, ...]]:
        """Yield rows without holding all of them, on any destination."""
        sql = f"SELECT {', '.join(columns)} FROM {tables}"  # noqa: S608 - escaped names
        with self._cursor(sql) as cursor:
            while rows := cursor.fetchmany(STREAM_ROWS):
                yield from rows

    @contextmanager
    def _cursor(self, sql: str) -> Iterator[Any]:
        if getattr(self.client.dbapi, "__name__", "") != "psycopg2":
            with self.client.execute_query(sql) as cursor:
                yield cursor
            return
        # psycopg2 fetches a whole result, unless the cursor is the server's, which lives in a transaction.
        with (
            self.client.begin_transaction(),
            self.client.native_connection.cursor(name="enrow_stream") as cursor,
        ):
            cursor.itersize = STREAM_ROWS
            cursor.execute(sql)
            yield cursor

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows that have the same columns."""
        insert(self.client, table, rows)

    def _assignments(self, values: Mapping[str, object]) -> tuple[str, list[object]]:
        parts = [f"{self.column(name)} = {'NULL' if value is None else '%s'}" for name, value in values.items()]
        return ", ".join(parts), [value for value in values.values() if value is not None]

    def _reconnect(self) -> None:
        try:
            self.job_client.sql_client.close_connection()
            self.job_client.sql_client.open_connection()
        except Exception as error:  # noqa: BLE001 - the next attempt shows whether it matters
            logger.warning(f"no connection to the destination: {type(error).__name__}")

    def table(self, name: str) -> str:
        """Return the qualified and escaped name of a table."""
        return self.client.make_qualified_table_name(name)

    def column(self, name: str, alias: str = "") -> str:
        """Return the escaped name of a column."""
        escaped = self.client.escape_column_name(name)
        return f"{alias}.{escaped}" if alias else escaped


def stored_key(key: str, privacy: Privacy) -> str:
    """Return what stands for a person in `submitted_searches`: in clear where personal data is kept, else hashed."""
    return key if privacy.mode is Pii.KEEP else privacy.keyed_hash(key)
