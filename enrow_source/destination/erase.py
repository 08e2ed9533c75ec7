"""Erasure: removes a person or a batch from a destination, and keeps later runs from bringing them back.

What was done, not to whom, is kept in the table `enrow_erasures`: of a person a keyed hash alone. It is under a schema
of its own, so that nothing that drops the tables of the source drops it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract import DltResource

from ..errors import ConfigurationError
from ..settings import SOURCE_NAME
from ..tables.privacy import Privacy
from ..tables.schema import DEFERRED_BATCH_IDS, PHONE_RESULTS, SUBMITTED_SEARCHES, TABLES, Column, Table
from .erase_people import ErasedPeople, find_people, submissions_of
from .load_lock import held_database, load_lock
from .mentions import clear, find_mentions
from .packages import left_packages
from .results_loaded import correct_results_loaded
from .row_log import appended
from .sql import Rows, at_once, exists
from .staging import places
from .suppressions import (
    ERASURES,
    PERSON,
    PERSON_COLUMNS,
    Subject,
    SubjectKind,
    configured_privacy,
    normalised_value,
    recorded_suppressions,
    secret_fingerprint,
)

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


_TABLES: Final = tuple(table.name for table in (*TABLES, DEFERRED_BATCH_IDS, SUBMITTED_SEARCHES))


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased, or would be."""

    executed: bool
    rows: dict[str, int]
    """Rows by table; copies that loads left in a staging dataset are named apart."""
    mentions: Mapping[str, int] = field(default_factory=dict)
    """Texts by column that mention a person, and are emptied: `custom`, and undocumented fields."""
    has_hashes: bool = True
    """Whether hashed values were searched too, which takes `pii_secret`."""
    unmatchable: str | None = None
    """A column that is null in all rows, as `pii="drop"` leaves it: nobody can be found by it."""


def erase(pipeline: dlt.Pipeline, subject: Subject, *, execute: bool = False, pii_secret: str | None = None) -> Erasure:
    """Remove a person or a batch from the dataset of the pipeline; without `execute`, only count.

    Args:
        pipeline: Names destination and dataset; best one of its own, in a folder that is thrown away.
        subject: Who or what.
        execute: Whether to do it.
        pii_secret: By default `pii_secret` under `[sources.enrow]`. A batch does not need it, and to count those in
            clear does not either.

    Raises:
        BusyError: Another run is at work in a file of DuckDB, or loads; nothing was changed.
        ConfigurationError: Something to fix in the arguments or the settings; nothing was changed.
    """
    if not isinstance(pipeline.destination_client(), SqlJobClientBase):
        raise ConfigurationError(
            f"rows cannot be deleted with SQL from {pipeline.destination.destination_name}: rewrite its files without"
            " them, with the tool that manages them"
        )
    if execute and left_packages(pipeline):
        raise ConfigurationError("the pipeline has packages of a killed run, which may hold what is erased: load them")
    with held_database(pipeline, creates=False):
        privacy = Privacy()
        if subject.kind is not SubjectKind.BATCH:
            privacy = Privacy(secret=pii_secret) if pii_secret else configured_privacy()
            if privacy.secret is None and execute:
                raise ConfigurationError(
                    "erasing a person needs pii_secret, since only a keyed hash of the person is kept: set it under"
                    f" [sources.{SOURCE_NAME}] in .dlt/secrets.toml, and keep it"
                )
        found = _find(pipeline, subject, privacy)
        counts = found.counts
        if execute:
            with load_lock(pipeline):
                # A load may have ended since, and brought more; one that begins afterwards finds the record.
                found = _find(pipeline, subject, privacy)
                # First the record, then the rows: whoever is killed in between leaves rows that are still there and
                # that the next erasure finds, never a person that a later run brings back. The counts in the record
                # come with the deletion, so that a record without them stands for one that was not finished.
                load_id = _record(pipeline, subject, privacy, found.people)
                with pipeline.sql_client() as client:
                    counts = _delete(client, found, load_id)
        has_hashes = privacy.secret is not None or subject.kind is SubjectKind.BATCH
        return Erasure(execute, counts, found.mentioned, has_hashes, found.unmatchable)


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is to erase."""

    rows: list[Rows]
    mentions: list[Rows]
    people: ErasedPeople
    counts: dict[str, int]
    mentioned: dict[str, int]
    unmatchable: str | None


def _find(pipeline: dlt.Pipeline, subject: Subject, privacy: Privacy) -> _Found:
    """Find what goes; raises ConfigurationError where the dataset has no table of the source."""
    with pipeline.sql_client() as client:
        if privacy.secret is not None:
            recorded_suppressions(client, privacy)  # checks the secret against earlier ones
        found = list(_find_rows(client, subject, privacy))
        mentions = list(find_mentions(client, subject))
        people = ErasedPeople()
        if privacy.secret is not None:
            results = next((rows for rows in found if rows.name == PHONE_RESULTS.name), Rows("", "", "", ()))
            people = find_people(client, subject, results, privacy)
            found += _find_submitted(client, sorted(people.stored))
        if not any(not rows.is_staged for rows in found):
            raise ConfigurationError(
                f"dataset {pipeline.dataset_name} of {pipeline.destination.destination_name} has no table of the"
                " source: check the names of both"
            )
        counts = _by_name(found, client)
        unmatchable = None if any(counts.values()) else _unmatchable(client, subject)
        return _Found(found, mentions, people, counts, _by_name(mentions, client), unmatchable)


def _find_rows(client: SqlClientBase[Any], subject: Subject, privacy: Privacy) -> Iterator[Rows]:
    """Find the tables that exist, also copies in the staging datasets, and what goes from them."""
    for is_staged, place in places(client):
        with place:
            for name in _TABLES if subject.kind is SubjectKind.BATCH else (PHONE_RESULTS.name,):
                table = client.make_qualified_table_name(name)
                is_submitted = name == SUBMITTED_SEARCHES.name
                by = "submission_id" if is_submitted else PERSON_COLUMNS.get(subject.kind, "batch_id")
                column = client.escape_column_name(by)
                try:
                    values = _values(client, table, column, subject, privacy)
                    values = submissions_of(client, subject.normalised) if is_submitted else values
                except DestinationUndefinedEntity:
                    continue
                yield Rows(f"{name} (staging)" if is_staged else name, table, column, values, is_staged)


def _by_name(found: Iterable[Rows], client: SqlClientBase[Any]) -> dict[str, int]:
    """Count the rows; those of several staging datasets together."""
    counts: Counter[str] = Counter()
    for rows in found:
        counts[rows.name] += rows.count(client)
    return dict(counts)


def _find_submitted(client: SqlClientBase[Any], keys: Sequence[str]) -> Iterator[Rows]:
    """Find what the people are called by in `submitted_searches`, where somebody has submitted."""
    table = client.make_qualified_table_name(SUBMITTED_SEARCHES.name)
    if exists(client, table):
        yield Rows(SUBMITTED_SEARCHES.name, table, client.escape_column_name("person_key"), keys)


def _values(client: SqlClientBase[Any], table: str, column: str, subject: Subject, privacy: Privacy) -> list[str]:
    """Return the values of the column that stand for the subject.

    SQL only narrows; what is equal is decided here, where a later run decides it too: destinations do not agree on
    what LOWER makes of letters such as İ, so that only letters that nothing else becomes are compared there.
    """
    if subject.kind is SubjectKind.BATCH:
        with client.execute_query(f"SELECT 1 FROM {table} WHERE 1 = 0"):  # noqa: S608 - is there such a table?
            return [subject.normalised]
    if subject.kind is SubjectKind.NUMBER:
        pattern = f"%{'%'.join(subject.normalised[1:])}%"
    else:
        pattern = f"%{re.sub('[^a-hjl-z0-9.-]', '%', subject.normalised.rpartition('/')[2])}%"
    # Whatever has a percent sign may be encoded, and spell any letter.
    narrowed = f"LOWER({column}) LIKE %s OR REPLACE({column}, %s, '') <> {column}"
    sql = f"SELECT DISTINCT {column} FROM {table} WHERE {narrowed}"  # noqa: S608 - escaped names
    similar = (value for (value,) in client.execute_sql(sql, pattern, "%") or ())
    equal = {value for value in similar if normalised_value(subject.kind, value) == subject.normalised}
    hashes = {privacy.keyed_hash(spelling) for spelling in subject.spellings} if privacy.secret else set()
    return sorted(equal | hashes)


def _unmatchable(client: SqlClientBase[Any], subject: Subject) -> str | None:
    column = PERSON_COLUMNS.get(subject.kind)
    if column is None:
        return None
    table = client.make_qualified_table_name(PHONE_RESULTS.name)
    sql = f"SELECT COUNT(*), COUNT({client.escape_column_name(column)}) FROM {table}"  # noqa: S608 - escaped names
    ((rows, filled),) = client.execute_sql(sql) or [(0, 0)]
    return column if rows and not filled else None


def _record(pipeline: dlt.Pipeline, subject: Subject, privacy: Privacy, people: ErasedPeople) -> str:
    """Write down the erasure, still without counts, and who it is about; return the load that it is under."""
    is_batch = subject.kind is SubjectKind.BATCH
    row = {
        "erased_at": datetime.now(UTC),
        "subject": subject.kind.value,
        "subject_hash": None if is_batch else privacy.keyed_hash(subject.normalised),
        "batch_id": subject.normalised if is_batch else None,
        "secret_check": None if is_batch else secret_fingerprint(privacy),
    }
    rows = [
        row,
        *(row | {"subject": PERSON, "subject_hash": one} for one in sorted(people.hashes - {row["subject_hash"]})),
    ]
    packages = pipeline.run(_erasures(rows)).load_packages
    # The state of a pipeline that also loads the source is in another one.
    return next(package.load_id for package in packages if package.schema_name == ERASURES)


@dlt.source(name=ERASURES)
def _erasures(rows: list[dict[str, Any]]) -> DltResource:
    return appended(_RECORD, rows)


_RECORD: Final = Table(
    ERASURES,
    "One row for a person or a batch that was erased.",
    (),
    (
        Column("erased_at", "timestamp", "When it was erased, UTC.", nullable=False),
        Column(
            "subject",
            "text",
            "What it was found by: `linkedin_url`, `number`, `batch`; `person` for who it is about.",
            nullable=False,
        ),
        Column("subject_hash", "text", "Keyed hash of the normalised value; null for a batch."),
        Column("batch_id", "text", "The id of an erased batch; null for a person."),
        Column("secret_check", "text", "Changes with `pii_secret`; null for a batch."),
        *(
            Column(f"{table}_rows", "bigint", f"Rows erased from `{table}`; null where it was not finished.")
            for table in _TABLES
        ),
    ),
)


def _delete(client: SqlClientBase[Any], found: _Found, load_id: str) -> dict[str, int]:
    """Delete the rows and empty the mentions, at once where the destination can, and write down how many rows."""
    counts: Counter[str] = Counter()
    with at_once(client):
        for rows in found.rows:
            if rows.name == PHONE_RESULTS.name:
                correct_results_loaded(client, rows)
            counts[rows.name] += rows.count(client)
            client.execute_sql(f"DELETE FROM {rows.table} WHERE {rows.condition}", *rows.values)  # noqa: S608
        for texts in found.mentions:
            clear(client, texts)
        erased = [counts[table] for table in _TABLES]
        assignments = ", ".join(f"{client.escape_column_name(f'{table}_rows')} = %s" for table in _TABLES)
        client.execute_sql(
            f"UPDATE {client.make_qualified_table_name(ERASURES)} SET {assignments}"  # noqa: S608 - escaped names
            f" WHERE {client.escape_column_name('_dlt_load_id')} = %s AND {client.escape_column_name('subject')} <> %s",
            *erased,
            load_id,
            PERSON,
        )
    return dict(counts)
