"""Batch ids from a SQL query, incrementally.

https://dlthub.com/docs/general-usage/incremental-loading
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

import dlt
import sqlglot.expressions as sql
from dlt.common import logger
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.extract import DltResource
from dlt.extract.incremental import Incremental

from ..destination.read_only import check_reads_only
from ..destination.session import Session
from ..errors import ConfigurationError
from ..settings import ID_LAG_S, ID_ROWS
from .cursor import cursor_on, is_far_ahead, not_ahead, resource_name
from .validate import NAMES, IdOrError, id_column, id_or_error

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


def batch_ids_from_query(
    query: str, *, database: str | None = None, cursor: str | None = None, lag_s: float = ID_LAG_S
) -> DltResource:
    """Yield the batch ids that a SQL query gives; with a cursor, those alone that are new since the last run.

    Args:
        query: A SELECT with a column `batch_id`, `bulk_id` or `id`. A row without an id is reported and left out.
        database: A SQLAlchemy URL; None for the destination of the running pipeline, whose dataset is the default.
        cursor: A column of the query that grows with each row that is written or changed: rows below its highest
            value so far are not read again. It has to change when a row gets its id. None reads all rows each time.
            Best a time; a number or a time as text has no lag; other text, a UUID and a Boolean are refused.
        lag_s: Seconds before the highest point in time that are read again, since transactions end out of order;
            for a column of dates, the days that they take.

    Returns:
        A resource for `enrow_source(batch_ids=...)`, which remembers the highest value of the cursor.

    Raises:
        ConfigurationError: It is not one SELECT, or an argument is empty. While it is read: the query has no column of
            ids or no cursor, the cursor has no order, a table does not exist, or a package is missing.
    """
    query = query.strip().rstrip(";")
    check_reads_only(query, "batch_ids_query")
    if cursor is not None and not cursor.strip():
        raise ConfigurationError("batch_ids_cursor is empty: name a column of batch_ids_query, or leave it out")
    if database is not None and not str(database).strip():
        raise ConfigurationError("batch_ids_database is empty: set a URL, or leave it out for the destination")
    host = _host(database)

    if cursor is None:

        @dlt.resource(name=resource_name("rows", query, host))
        def rows() -> Iterator[list[Row]]:
            with _connect(database) as connection:
                yield from _all_rows(connection, query)

    else:

        @dlt.resource(name=resource_name("rows", query, cursor, host))
        def rows(position: Incremental[Any] = cursor_on(_CURSOR, lag_s)) -> Iterator[list[Row]]:  # noqa: B008
            with _connect(database) as connection:
                yield from _new_rows(connection, query, cursor, position.last_value)

    @dlt.transformer(name=resource_name("ids", query, cursor or "", host))
    def ids(page: Sequence[Row]) -> Iterator[list[IdOrError]]:
        yield [id_or_error(row[_VALUE], f"row {row[_NUMBER]} of batch_ids_query") for row in page]

    resource: DltResource = rows | ids
    return resource


Row = dict[str, Any]

_VALUE: Final = "value"
_CURSOR: Final = "cursor"
_NUMBER: Final = "number"


def _all_rows(connection: _Connection, query: str) -> Iterator[list[Row]]:
    names, pages = connection.execute(query)
    position = _id_position(names)
    number = 0
    for page in pages:
        yield [{_VALUE: row[position], _NUMBER: n} for n, row in enumerate(page, number + 1)]
        number += len(page)
    _warn_if_none(number)


def _warn_if_none(rows: int) -> None:
    if rows == 0:
        logger.warning("batch_ids_query gives no rows: no batch ids are read from there")


def _new_rows(connection: _Connection, query: str, cursor: str, start: object) -> Iterator[list[Row]]:
    """Read the rows from `start` on, or all; whatever the next run does is done in this one too."""
    names, pages = connection.execute(_narrowed(query, "1 = 0"))
    list(pages)  # or the database waits for somebody to read on
    position, at = _id_position(names), _cursor_position(names, cursor)
    column = connection.quoted(names[at])
    is_new = f"{column} >= {connection.start(start) if start is not None else column} OR {column} IS NULL"
    statement = query if start is None else _narrowed(query, is_new)
    _, pages = connection.execute(statement, start)
    number, ahead, highest = 0, 0, None
    for page in pages:
        found = []
        for row in page:
            number += 1
            mark = row[at]
            if number == 1 or type(mark) is not type(highest):
                _check_cursor(mark, cursor, is_first=start is None and number == 1)
            ahead += is_far_ahead(mark)
            mark = not_ahead(mark)
            highest = mark if mark is not None else highest
            found.append({_VALUE: row[position], _CURSOR: mark, _NUMBER: number})
        yield found
    if ahead:
        logger.warning(f"{ahead} rows of batch_ids_query have a {cursor} ahead of the clock of this run")
    if start is None:
        _warn_if_none(number)
        literal = connection.start(highest) if highest is not None else column
        connection.execute(_narrowed(query, f"{column} >= {literal} OR {column} IS NULL"), highest)


class _Connection(Protocol):
    """Where a query is run."""

    def execute(self, statement: str, start: object = None) -> tuple[list[str], Iterator[Sequence[Sequence[Any]]]]:
        """Return the names of the columns, and the rows in pages."""

    def quoted(self, column: str) -> str:
        """Write the name of a column as the database has it."""

    def start(self, value: object) -> str:
        """Write a value of the cursor."""


@contextmanager
def _connect(database: str | None) -> Iterator[_Connection]:
    if database is None:
        with Session.current().sql_client() as client:
            yield _Destination(client)
        return
    try:
        from dlt.sources.sql_database import engine_from_credentials  # noqa: PLC0415 - it needs SQLAlchemy, an extra
    except ImportError as error:
        raise ConfigurationError(
            "batch_ids_database cannot be read without SQLAlchemy: pip install 'enrow-source[sql]'"
        ) from error
    engine = engine_from_credentials(database)
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            yield _Database(connection)
    finally:
        engine.dispose()


class _Database:
    """A database of SQLAlchemy."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy is an extra
        self._connection = connection

    def execute(self, statement: str, start: object = None) -> tuple[list[str], Iterator[Sequence[Sequence[Any]]]]:
        from sqlalchemy import text  # noqa: PLC0415

        # A colon of the query is its own, and names no parameter.
        escaped = statement.replace(":", r"\:").replace(rf"\{_START}", _START)
        parameters = {_START[1:]: start} if _START in statement else {}
        found = self._connection.execute(text(escaped), parameters)
        return [str(name) for name in found.keys()], found.partitions(ID_ROWS)  # noqa: SIM118 - no dict

    def quoted(self, column: str) -> str:
        return str(self._connection.dialect.identifier_preparer.quote(column))

    def start(self, value: object) -> str:  # noqa: ARG002 - it is a parameter
        return _START


class _Destination:
    """The destination of the running pipeline."""

    def __init__(self, client: SqlClientBase[Any]) -> None:
        self._client = client

    def execute(self, statement: str, start: object = None) -> tuple[list[str], Iterator[Sequence[Sequence[Any]]]]:  # noqa: ARG002 - it is in the statement
        names: list[str] = []
        pages = self._pages(statement, names)
        first = next(pages)  # so that the statement is run
        return names, chain([first] if first else [], pages)

    def _pages(self, statement: str, names: list[str]) -> Iterator[Sequence[Sequence[Any]]]:
        try:
            with self._client.execute_query(statement) as found:
                names += [str(column[0]) for column in found.description or ()]
                yield found.fetchmany(ID_ROWS)
                while page := found.fetchmany(ID_ROWS):
                    yield page
        except DestinationUndefinedEntity as error:
            raise ConfigurationError(f"batch_ids_query reads what the destination does not have: {error}") from error

    def quoted(self, column: str) -> str:
        return self._client.escape_column_name(column, casefold=False)

    def start(self, value: object) -> str:
        kind = None
        if isinstance(value, datetime):
            kind = "timestamptz" if value.tzinfo else "timestamp"
        elif isinstance(value, date):
            kind = "date"
        expression = sql.cast(sql.Literal.string(str(value)), kind) if kind else sql.convert(value)
        return expression.sql(dialect=self._client.capabilities.sqlglot_dialect)


_START: Final = ":enrow_ids_start"
"""The parameter that holds the value of the cursor."""


def _narrowed(query: str, condition: str) -> str:
    return f"SELECT * FROM (\n{query}\n) enrow_ids WHERE {condition}"  # noqa: S608 - the user's own query


def _id_position(names: Sequence[str]) -> int:
    position = id_column(names, "batch_ids_query")
    if position is None:
        raise ConfigurationError(
            f"batch_ids_query has no column {NAMES}, but {', '.join(names):.200}: name one with AS"
        )
    return position


def _cursor_position(names: Sequence[str], cursor: str) -> int:
    """Find the cursor among the columns: as it is written, else whatever its case."""
    wanted = cursor.strip().strip('"`[]')
    for spell in (str, str.lower):
        found = [position for position, name in enumerate(names) if spell(name) == spell(wanted)]
        if len(found) == 1:
            return found[0]
    raise ConfigurationError(
        f"batch_ids_query has no column {cursor}, the batch_ids_cursor, but {', '.join(names):.200}: select it too"
    )


def _check_cursor(value: object, cursor: str, *, is_first: bool) -> None:
    """Refuse a cursor by which new rows are passed over, and say what one that is no time cannot keep.

    Raises:
        ConfigurationError: The cursor has no order, or another one in the database.
    """
    if value is None or isinstance(value, date):
        return
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ConfigurationError(
            f"batch_ids_cursor {cursor} has values of the type {type(value).__name__}, which do not grow with each row:"
            " name a column of times or numbers, or leave it out"
        )
    if isinstance(value, str) and not _ISO_TIME.match(value):
        raise ConfigurationError(
            f"batch_ids_cursor {cursor} is text, which databases sort in ways of their own: name a column of times or"
            " numbers, cast it to a time in batch_ids_query, or leave it out"
        )
    if is_first:
        logger.warning(
            f"batch_ids_cursor {cursor} is no time: a row that appears later with a lower value, since its transaction"
            " took longer, is not read; use a column of times, or no cursor, to have all of them"
        )


_ISO_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
"""Text of points in time has the order of time."""


def _host(database: str | None) -> str:
    """Return what names a database, without the password, which may change."""
    return re.sub(r"//[^@/]*@", "//", database or "")
