"""Who the erased rows are about, so that nobody of them is submitted again.

A person who is erased by a number, or by one profile, stands in `submitted_searches` under another name: what stands
for the person. It is deleted there, and its keyed hash is recorded, as `person`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from ..tables.person import OTHER_NAMES, PERSON_FIELDS, person_key, profile_key
from ..tables.privacy import Privacy
from ..tables.schema import PHONE_RESULTS, SUBMISSIONS, SUBMITTED_SEARCHES
from .sql import Rows, columns_of
from .suppressions import Subject, SubjectKind

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


@dataclass(frozen=True, slots=True)
class ErasedPeople:
    """The people that the erased rows are about."""

    stored: frozenset[str] = frozenset()
    """What may stand for them in `submitted_searches`."""
    hashes: frozenset[str] = frozenset()
    """Keyed hashes of what stands for them."""


def find_people(client: SqlClientBase[Any], subject: Subject, erased: Rows, privacy: Privacy) -> ErasedPeople:
    """Find out who the erased rows of `phone_results` are about; `privacy` has the secret."""
    clear = {key for key in _from_results(client, erased) if key}
    if subject.kind is SubjectKind.LINKEDIN_URL:
        clear.add(profile_key(subject.value))
    hashes = {privacy.keyed_hash(key) for key in clear}
    submitted = set(_from_submissions(client, erased))
    # What is hashed there was hashed with the same secret.
    hashes |= {key for key in submitted if _is_hash(key)} | {
        privacy.keyed_hash(k) for k in submitted if not _is_hash(k)
    }
    return ErasedPeople(frozenset(clear | submitted | hashes), frozenset(hashes))


def submissions_of(client: SqlClientBase[Any], batch_id: str) -> list[str]:
    """Return the submissions that became a batch; raises DestinationUndefinedEntity where nobody has submitted."""
    column, table = client.escape_column_name, client.make_qualified_table_name(SUBMISSIONS.name)
    sql = f"SELECT {column('submission_id')} FROM {table} WHERE {column('batch_id')} = %s"  # noqa: S608 - escaped names
    return [submission_id for (submission_id,) in client.execute_sql(sql, batch_id) or ()]


def _from_results(client: SqlClientBase[Any], erased: Rows) -> Iterator[str | None]:
    table, named = client.make_qualified_table_name(PHONE_RESULTS.name), client.capabilities.casefold_identifier
    loaded = columns_of(client, table)
    fields = [*PERSON_FIELDS, *(name for name in OTHER_NAMES if named(f"params__{name}") in loaded)]
    columns = ", ".join(client.escape_column_name(f"params__{name}") for name in fields)
    try:
        rows = client.execute_sql(f"SELECT DISTINCT {columns} FROM {table} WHERE {erased.condition}", *erased.values)  # noqa: S608
    except DestinationUndefinedEntity:
        return
    for row in rows or ():
        yield person_key(dict(zip(fields, row, strict=True)))


def _from_submissions(client: SqlClientBase[Any], erased: Rows) -> Iterator[str]:
    column, table = client.escape_column_name, client.make_qualified_table_name
    sql = (
        f"SELECT DISTINCT s.{column('person_key')} FROM {table(SUBMITTED_SEARCHES.name)} s"  # noqa: S608 - escaped names
        f" JOIN {table(SUBMISSIONS.name)} u ON u.{column('submission_id')} = s.{column('submission_id')}"
        f" JOIN {table(PHONE_RESULTS.name)} r ON r.{column('batch_id')} = u.{column('batch_id')}"
        f" AND r.{column('index')} = s.{column('index')} WHERE {erased.condition}"
    )
    try:
        rows = client.execute_sql(sql, *erased.values)
    except DestinationUndefinedEntity:
        return
    for (key,) in rows or ():
        yield key


def _is_hash(key: str) -> bool:
    return len(key) == 64 and all(one in "0123456789abcdef" for one in key)  # noqa: PLR2004 - HMAC-SHA256 as hexadecimal
