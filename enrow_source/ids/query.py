"""Batch ids from a SQL query, incrementally.

https://dlthub.com/docs/general-usage/incremental-loading
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import dlt
import sqlglot
import sqlglot.expressions as sql
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.extract import DltResource
from dlt.extract.incremental import Incremental

from ..destination.session import Session
from ..errors import ConfigurationError
from ..settings import ID_LAG_S, ID_ROWS
from .cursor import cursor_on, resource_name
from .input import IdOrError, id_or_error


def batch_ids_from_query(
    query: str, *, database: str | None = None, cursor: str | None = None, lag_s: float = ID_LAG_S
) -> DltResource:
    """Yield the batch ids that a SQL query gives; with a cursor, those alone that are new since the last run.

    Args:
        query: A SELECT with a column `batch_id` or `id`. A row without an id is reported and left out.
        database: A SQLAlchemy URL; None for the destination of the running pipeline, whose dataset is the default.
        cursor: A column of the query that grows with each row that is written or changed: rows below its highest
            value so far are not read again. It has to change when a row gets its id. None reads all rows each time.
        lag_s: Seconds before the highest point in time that are read again, since transactions end out of order.

    Returns:
        A resource for `enrow_source(batch_ids=...)`, which remembers the highest value of the cursor.

    Raises:
        ConfigurationError: It is not one SELECT, or the cursor is no name of a column. While it is read: the query has
            no column of ids or no cursor, a table does not exist, or a package is missing.
    """
    query = query.strip().rstrip(";")
    _check_reads_only(query)
    if cursor is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", cursor):
        raise ConfigurationError(f"batch_ids_cursor is {cursor!r:.80}: name a column of batch_ids_query")
    column = cursor.lower() if cursor else ""

    def read(start: object) -> Iterator[list[dict[str, Any]]]:
        reader = _of_destination if database is None else _of_database
        for page in reader(database or "", query, cursor, start):
            _check_columns(page[0], column)
            yield page

    if cursor is None:

        @dlt.resource(name=resource_name("rows", query, _host(database)))
        def rows() -> Iterator[list[dict[str, Any]]]:
            yield from read(None)

    else:

        @dlt.resource(name=resource_name("rows", query, cursor, _host(database)))
        def rows(position: Incremental[Any] = cursor_on(column, lag_s)) -> Iterator[list[dict[str, Any]]]:  # noqa: B008
            yield from read(position.last_value)

    @dlt.transformer(name=resource_name("ids", query, cursor or "", _host(database)))
    def ids(page: Sequence[Mapping[str, Any]]) -> Iterator[IdOrError]:
        for row in page:
            value = row["batch_id"] if "batch_id" in row else row["id"]
            # Databases have a type of their own for such ids.
            yield id_or_error(value if value is None else str(value), "a row of batch_ids_query")

    resource: DltResource = rows | ids
    return resource


def _check_reads_only(query: str) -> None:
    """Refuse what would change the database: it would be run there, every quarter of an hour."""
    try:
        statements = sqlglot.parse(query)
    except sqlglot.errors.SqlglotError:
        statements = []  # a dialect that sqlglot takes for another one; the first word tells
    changes = (sql.DML, sql.DDL, sql.Command, sql.Drop, sql.Alter, sql.TruncateTable, sql.Into)
    reads = len(statements) == 1 and isinstance(statements[0], sql.Query) and not statements[0].find(*changes)
    if not (reads if statements else re.match(r"(?i)\(*\s*(select|with|from|values)\b", query)):
        raise ConfigurationError(f"batch_ids_query is {query!r:.80}: write one SELECT, which changes nothing")


def _of_database(url: str, query: str, cursor: str | None, start: object) -> Iterator[list[dict[str, Any]]]:
    try:
        from dlt.sources.sql_database import engine_from_credentials  # noqa: PLC0415 - it needs SQLAlchemy, an extra
        from sqlalchemy import text  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "batch_ids_database cannot be read without SQLAlchemy: pip install 'enrow-source[sql]'"
        ) from error
    statement = _from(query, cursor, ":enrow_start" if start is not None else "")
    # A colon of the query is its own, and names no parameter.
    statement = statement.replace(query, query.replace(":", r"\:"), 1)
    engine = engine_from_credentials(url)
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            found = connection.execute(text(statement), {"enrow_start": start} if start is not None else {})
            for page in found.mappings().partitions(ID_ROWS):
                yield [_lowered(dict(row)) for row in page]
    finally:
        engine.dispose()


def _of_destination(_: str, query: str, cursor: str | None, start: object) -> Iterator[list[dict[str, Any]]]:
    with Session.current().sql_client() as client:
        literal = "" if start is None else _literal(start, client.capabilities.sqlglot_dialect)
        try:
            with client.execute_query(_from(query, cursor, literal)) as found:
                names = [column[0] for column in found.description or ()]
                while page := found.fetchmany(ID_ROWS):
                    yield [_lowered(dict(zip(names, row, strict=True))) for row in page]
        except DestinationUndefinedEntity as error:
            raise ConfigurationError(f"batch_ids_query reads what the destination does not have: {error}") from error


def _from(query: str, cursor: str | None, start: str) -> str:
    """Narrow the query to what is new; a row without a value of the cursor is read each time."""
    if not start:
        return query
    return f"SELECT * FROM (\n{query}\n) enrow_ids WHERE {cursor} >= {start} OR {cursor} IS NULL"  # noqa: S608 - the user's own query


def _literal(value: object, dialect: str | None) -> str:
    kind = None
    if isinstance(value, datetime):
        kind = "timestamptz" if value.tzinfo else "timestamp"
    elif isinstance(value, date):
        kind = "date"
    expression = sql.cast(sql.Literal.string(str(value)), kind) if kind else sql.convert(value)
    return expression.sql(dialect=dialect)


def _lowered(row: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name).lower(): value for name, value in row.items()}


def _check_columns(row: Mapping[str, Any], cursor: str) -> None:
    if "batch_id" not in row and "id" not in row:
        raise ConfigurationError(
            f"batch_ids_query has no column batch_id or id, but {', '.join(row):.200}: name one with AS"
        )
    if cursor and cursor not in row:
        raise ConfigurationError(f"batch_ids_query has no column {cursor}, the batch_ids_cursor: select it too")


def _host(database: str | None) -> str:
    """Tell one database from another without the password, which may change."""
    return re.sub(r"//[^@/]*@", "//", database or "")
