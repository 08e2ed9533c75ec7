"""SQL that every destination takes, in the pieces that statements are made of, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.utils import chunks

from ..settings import INSERT_ROWS

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table: those with one of the values in the column."""

    name: str
    """As it is printed."""
    table: str
    """Qualified and escaped."""
    column: str
    """Escaped."""
    values: Sequence[str]
    is_staged: bool = False

    @property
    def condition(self) -> str:
        """SQL with a parameter for each of the values."""
        return f"{self.column} IN ({parameters(self.values)})" if self.values else "1 = 0"

    def count(self, client: SqlClientBase[Any]) -> int:
        """Count the rows; raises DestinationUndefinedEntity where there is no such table."""
        sql = f"SELECT COUNT(*) FROM {self.table} WHERE {self.condition}"  # noqa: S608 - escaped names
        ((count,),) = client.execute_sql(sql, *self.values) or [(0,)]
        return int(count)


def parameters(values: Sized) -> str:
    """Return a parameter for each value: `%s, %s`."""
    return ", ".join(["%s"] * len(values))


def exists(client: SqlClientBase[Any], table: str) -> bool:
    """Whether the destination has a table; its name is qualified and escaped."""
    try:
        with client.execute_query(f"SELECT 1 FROM {table} WHERE 1 = 0"):  # noqa: S608 - an escaped name
            return True
    except DestinationUndefinedEntity:
        return False


def columns_of(client: SqlClientBase[Any], table: str) -> list[str]:
    """Return the columns that a table has at the destination; none where there is no such table."""
    try:
        with client.execute_query(f"SELECT * FROM {table} WHERE 1 = 0") as cursor:  # noqa: S608 - an escaped name
            return [column[0] for column in cursor.description]
    except DestinationUndefinedEntity:
        return []


def at_once(client: SqlClientBase[Any]) -> AbstractContextManager[Any]:
    """Do the statements of a `with` block in one transaction, where the destination has them."""
    # dlt says True of them, or nothing.
    return client.begin_transaction() if client.capabilities.supports_transactions is not False else nullcontext()


def insert(client: SqlClientBase[Any], table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that have the same columns."""
    names = list(rows[0])
    columns = ", ".join(map(client.escape_column_name, names))
    for some in chunks(rows, INSERT_ROWS):
        # NULL is written out: a parameter without a type is one that BigQuery refuses.
        values = ", ".join(f"({', '.join('NULL' if row[n] is None else '%s' for n in names)})" for row in some)
        client.execute_sql(
            f"INSERT INTO {client.make_qualified_table_name(table)} ({columns}) VALUES {values}",  # noqa: S608 - escaped
            *(row[name] for row in some for name in names if row[name] is not None),
        )


def utc(at: datetime | None) -> datetime | None:
    """Return a time with its zone, which some destinations leave out."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
