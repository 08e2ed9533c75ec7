"""Where a person is mentioned in free text: `custom`, and the columns of undocumented fields.

Such a text is not the person's row. It may be a batch's, or another person's. So it is emptied, and the row stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..tables.schema import BATCH_STATS, BATCHES, PHONE_RESULTS, Table
from .sql import Rows, columns_of
from .staging import places
from .suppressions import Subject, SubjectKind

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


def find_mentions(client: SqlClientBase[Any], subject: Subject) -> Iterator[Rows]:
    """Find the rows whose texts mention a person in clear, by column; a batch is mentioned nowhere."""
    if subject.kind is SubjectKind.BATCH:
        return
    mention, pattern = _mention(subject), _pattern(subject)
    for is_staged, place in places(client):
        with place:
            for table in (BATCHES, BATCH_STATS, PHONE_RESULTS):
                name = client.make_qualified_table_name(table.name)
                for column in _free_text(client, table, name):
                    escaped = client.escape_column_name(column)
                    sql = f"SELECT DISTINCT {escaped} FROM {name} WHERE LOWER({escaped}) LIKE %s"  # noqa: S608 - escaped names
                    values = sorted(text for (text,) in client.execute_sql(sql, pattern) or () if mention.search(text))
                    if values:
                        printed = f"{table.name}.{column}{' (staging)' if is_staged else ''}"
                        yield Rows(printed, name, escaped, values, is_staged)


def clear(client: SqlClientBase[Any], mentions: Rows) -> None:
    """Set the texts to null."""
    sql = f"UPDATE {mentions.table} SET {mentions.column} = NULL WHERE {mentions.condition}"  # noqa: S608 - escaped names
    client.execute_sql(sql, *mentions.values)


def _mention(subject: Subject) -> re.Pattern[str]:
    """Return what finds the value inside a text, with separators in a number and any case in an address."""
    if subject.kind is SubjectKind.NUMBER:
        digits = re.findall(r"[0-9]", subject.normalised)
        return re.compile(r"(?<![0-9])" + r"[\s().\-/]*".join(digits) + r"(?![0-9])")
    return re.compile(re.escape(_address(subject)) + r"(?![\w-])", re.IGNORECASE)


def _address(subject: Subject) -> str:
    return re.sub(r"^(?:https?://)?(?:www\.)?", "", subject.normalised)


def _pattern(subject: Subject) -> str:
    """Return a pattern for LIKE that narrows what is searched: with wildcards for all that destinations disagree on."""
    if subject.kind is SubjectKind.NUMBER:
        return f"%{'%'.join(re.findall('[0-9]', subject.normalised))}%"
    return f"%{re.sub('[^a-hjl-z0-9:/.-]', '%', _address(subject))}%"


def _free_text(client: SqlClientBase[Any], table: Table, name: str) -> list[str]:
    """Return the columns of a table that may hold any text: `custom`, and those that are not declared."""
    declared = {client.capabilities.casefold_identifier(column.name) for column in table.columns}
    declared.discard(client.capabilities.casefold_identifier("custom"))
    return [
        column
        for column in columns_of(client, name)
        if column not in declared and not column.lower().startswith("_dlt")
    ]
