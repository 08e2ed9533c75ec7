"""Hides what earlier runs loaded in clear, as `pii` says now: hashes it, or sets it to null.

Each value is hidden by itself, and what is hidden already is left alone: it can be done again after any end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.utils import chunks
from dlt.destinations.job_client_impl import SqlJobClientBase

from ..errors import ConfigurationError
from ..settings import HIDDEN_VALUES
from ..tables.privacy import Pii, Privacy
from ..tables.rows import OWN_WORDS
from ..tables.schema import BATCH_ERRORS, BATCH_STATS, BATCHES, PHONE_RESULTS, Table
from ..tables.undocumented_columns import OVERFLOW_COLUMNS
from .load_lock import held_database
from .sql import columns_of, parameters
from .staging import places

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.sql_client import SqlClientBase

_HASHED: Final = re.compile('"?[0-9a-f]{64}"?')


def hide_existing(pipeline: dlt.Pipeline, privacy: Privacy, *, execute: bool = False) -> dict[str, int]:
    """Hide personal data that is in clear in the dataset of the pipeline; without `execute`, only count.

    Returns the distinct values in clear by column, those of staging datasets too.

    Raises:
        BusyError: Another run is at work in a file of DuckDB.
        ConfigurationError: `pii` keeps everything, or the destination has no SQL to change rows.
    """
    if not privacy.hides:
        raise ConfigurationError('pii is "keep": set it to "hash" or "drop" under [sources.enrow] first')
    if not isinstance(pipeline.destination_client(), SqlJobClientBase):
        raise ConfigurationError(f"rows cannot be changed with SQL in {pipeline.destination.destination_name}")
    counts: dict[str, int] = {}
    with held_database(pipeline, creates=False), pipeline.sql_client() as client:
        for _, place in places(client):
            with place:
                for table in (BATCHES, BATCH_STATS, PHONE_RESULTS):
                    for column, values in _in_clear(client, table, privacy):
                        name = f"{table.name}.{column}"
                        counts[name] = counts.get(name, 0) + len(values)
                        if execute:
                            _hide(client, table, column, values, privacy)
                if execute:
                    _hide_messages(client, privacy)
    return counts


def rows_in_clear(client: SqlClientBase[Any]) -> int:
    """Count the rows of `phone_results` with a number or an address in clear: a hash has neither `+` nor a slash."""
    number, url = (client.escape_column_name(name) for name in ("number", "params__linkedin_url"))
    table = client.make_qualified_table_name(PHONE_RESULTS.name)
    sql = f"SELECT COUNT(*) FROM {table} WHERE {number} LIKE %s OR {url} LIKE %s"  # noqa: S608 - escaped names
    try:
        ((count,),) = client.execute_sql(sql, "+%", "%/%") or [(0,)]
    except DestinationUndefinedEntity:
        return 0
    return int(count)


def _in_clear(client: SqlClientBase[Any], table: Table, privacy: Privacy) -> Iterator[tuple[str, list[str]]]:
    """Yield the columns that may hold personal data, with the values that are in clear."""
    name = client.make_qualified_table_name(table.name)
    named = client.capabilities.casefold_identifier
    open_to_all = {named(column.name) for column in table.columns if not column.is_personal}
    for column in columns_of(client, name):
        if column in open_to_all or column.lower().startswith("_dlt"):
            continue
        escaped = client.escape_column_name(column)
        rows = client.execute_sql(f"SELECT DISTINCT {escaped} FROM {name} WHERE {escaped} IS NOT NULL") or ()  # noqa: S608
        values = [value for (value,) in rows if privacy.mode is Pii.DROP or not _is_hidden(column.lower(), value)]
        if values:
            yield column, values


def _is_hidden(column: str, value: str) -> bool:
    if column in OVERFLOW_COLUMNS:
        return all(map(_HASHED.fullmatch, json.loads(value)))
    return _HASHED.fullmatch(value) is not None


def _hide(client: SqlClientBase[Any], table: Table, column: str, values: Sequence[str], privacy: Privacy) -> None:
    name, escaped = client.make_qualified_table_name(table.name), client.escape_column_name(column)
    if privacy.mode is Pii.DROP:
        client.execute_sql(f"UPDATE {name} SET {escaped} = NULL WHERE {escaped} IS NOT NULL")  # noqa: S608
        return
    for some in chunks(values, HIDDEN_VALUES):
        hidden = [_hidden(column.lower(), value, privacy) for value in some]
        cases = " ".join(["WHEN %s THEN %s"] * len(some))
        client.execute_sql(
            f"UPDATE {name} SET {escaped} = CASE {escaped} {cases} END"  # noqa: S608
            f" WHERE {escaped} IN ({parameters(some)})",
            *(one for pair in zip(some, hidden, strict=True) for one in pair),
            *some,
        )


def _hidden(column: str, value: str, privacy: Privacy) -> str | None:
    """Hide a value as a run does."""
    if column in OVERFLOW_COLUMNS:
        return privacy.fields(json.loads(value))
    return privacy.text(value, is_json=column == "custom")


def _hide_messages(client: SqlClientBase[Any], privacy: Privacy) -> None:
    """Leave out what the API said of errors."""
    column, name = client.escape_column_name, client.make_qualified_table_name(BATCH_ERRORS.name)
    kinds = sorted(kind.value for kind in OWN_WORDS)
    try:
        client.execute_sql(
            f"UPDATE {name} SET {column('message')} = %s"  # noqa: S608
            f" WHERE {column('kind')} NOT IN ({parameters(kinds)})",
            f"what the API says of it is left out, since pii is {privacy.mode.value}",
            *kinds,
        )
    except DestinationUndefinedEntity:
        return
