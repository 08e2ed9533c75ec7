"""Queries that a user writes: they read, and change nothing."""

from __future__ import annotations

import re

import sqlglot
import sqlglot.expressions as sql

from ..errors import ConfigurationError


def check_reads_only(query: str, name: str) -> None:
    """Raise ConfigurationError for a query that is not one SELECT: it would be run every quarter of an hour.

    `name` is what the error calls the query.
    """
    try:
        statements = sqlglot.parse(query)
    except sqlglot.errors.SqlglotError:
        statements = []  # a dialect that sqlglot takes for another one; the first word decides
    changes = (sql.DML, sql.DDL, sql.Command, sql.Drop, sql.Alter, sql.TruncateTable, sql.Into)
    reads = len(statements) == 1 and isinstance(statements[0], sql.Query) and not statements[0].find(*changes)
    if not (reads if statements else re.match(r"(?i)\(*\s*(select|with|from|values)\b", query)):
        raise ConfigurationError(f"{name} is {query!r:.80}: write one SELECT, which changes nothing")
