"""Where a person is mentioned in free text: `custom`, and the columns of undocumented fields.

Such a text is not the person's row. It may be a batch's, or another person's. So it is emptied, and the row stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from ..tables.schema import BATCH_STATS, BATCHES, PHONE_RESULTS, Table
from .suppressions import Subject, SubjectKind

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


@dataclass(frozen=True, slots=True)
class Mentions:
    """Texts of one column that mention the person."""

    name: str
    """As it is printed: `batches.custom`."""
    table: str
    """Qualified and escaped."""
    column: str
    values: Sequence[str]

    @property
    def condition(self) -> str:
        """SQL with a parameter for each of the values."""
        return f"{self.column} IN ({', '.join(['%s'] * len(self.values))})"

    def count(self, client: SqlClientBase[Any]) -> int:
        """Count the rows."""
        sql = f"SELECT COUNT(*) FROM {self.table} WHERE {self.condition}"  # noqa: S608 - escaped names
        ((count,),) = client.execute_sql(sql, *self.values) or [(0,)]
        return int(count)

    def clear(self, client: SqlClientBase[Any]) -> None:
        """Set the texts to null."""
        sql = f"UPDATE {self.table} SET {self.column} = NULL WHERE {self.condition}"  # noqa: S608 - escaped names
        client.execute_sql(sql, *self.values)


def find_mentions(client: SqlClientBase[Any], subject: Subject, suffix: str = "") -> Iterator[Mentions]:
    """Find the texts that mention a person in clear, in the dataset that the client is at.

    Args:
        client: Of the destination.
        subject: Who is erased; a batch is mentioned nowhere.
        suffix: Follows the name of the table where it is printed.
    """
    if subject.kind is SubjectKind.BATCH:
        return
    mention, pattern = _mention(subject), _pattern(subject)
    for table in (BATCHES, BATCH_STATS, PHONE_RESULTS):
        name = client.make_qualified_table_name(table.name)
        for column in _free_text(client, table, name):
            escaped = client.escape_column_name(column)
            sql = f"SELECT DISTINCT {escaped} FROM {name} WHERE LOWER({escaped}) LIKE %s"  # noqa: S608 - escaped names
            values = sorted(text for (text,) in client.execute_sql(sql, pattern) or () if mention.search(text))
            if values:
                yield Mentions(f"{table.name}.{column}{suffix}", name, escaped, values)


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
    try:
        with client.execute_query(f"SELECT * FROM {name} WHERE 1 = 0") as cursor:  # noqa: S608 - escaped names
            columns = [column[0] for column in cursor.description]
    except DestinationUndefinedEntity:
        return []
    return [column for column in columns if column not in declared and not column.lower().startswith("_dlt")]
