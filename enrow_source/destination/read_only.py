"""Queries that a user writes: they read, and change nothing."""

from __future__ import annotations

import re

import sqlglot
import sqlglot.expressions as sql

from ..errors import ConfigurationError


def check_reads_only(query: str, name: str) -> None:
    """Refuse a query that would change the database: it would be run there, every quarter of an hour.

    Args:
        query: Any SQL.
        name: What the error calls the query.

    Raises:
        ConfigurationError: It is not one SELECT.
    """
    try:
        statements = sqlglot.parse(query)
    except sqlglot.errors.SqlglotError:
        statements = []  # a dialect that sqlglot takes for another one; the first word decides
    changes = (sql.DML, sql.DDL, sql.Command, sql.Drop, sql.Alter, sql.TruncateTable, sql.Into)
    reads = len(statements) == 1 and isinstance(statements[0], sql.Query) and not statements[0].find(*changes)
    if not (reads if statements else re.match(r"(?i)\(*\s*(select|with|from|values)\b", query)):
        raise ConfigurationError(f"{name} is {query!r:.80}: write one SELECT, which changes nothing")
