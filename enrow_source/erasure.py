"""Erasure: removes a person or a batch from a destination, and keeps later runs from bringing them back.

What was done, not to whom, is kept in the table `enrow_erasures`: of a person a keyed hash alone. It is under a schema
of its own, so that nothing that drops the tables of the source drops it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import dlt
from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.common.typing import TSecretStrValue
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract import DltResource

from .arrow import pa, pc
from .errors import ConfigurationError
from .privacy import Privacy
from .settings import SECRET_CHECK_CHARS, SOURCE_NAME

if TYPE_CHECKING:
    from dlt.common.schema.typing import TColumnSchema
    from dlt.destinations.sql_client import SqlClientBase

ERASURES: Final = "enrow_erasures"
"""The table, and the schema that it is alone in."""

_RESULTS: Final = "phone_results"
_LEDGER: Final = "phone_results_ledger"
_TABLES: Final = ("batches", "batch_stats", _RESULTS, _LEDGER, "batch_errors", "deferred_batch_ids")


class SubjectKind(StrEnum):
    """What can be erased; the column `subject` of `enrow_erasures`."""

    LINKEDIN_URL = "linkedin_url"
    NUMBER = "number"
    BATCH = "batch"


_COLUMNS: Final = {SubjectKind.LINKEDIN_URL: "params__linkedin_url", SubjectKind.NUMBER: "number"}
"""The column of `phone_results` that a person is found by."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The person or the batch to erase; `value` is shown nowhere.

    Raises:
        ConfigurationError: The value cannot be what it should be.
    """

    kind: SubjectKind
    value: str = field(repr=False)

    def __post_init__(self) -> None:
        """Check the value: one that can match nothing would look like a person who is not there."""
        if not self.normalised or not _is_storable(self.value):
            raise ConfigurationError(f"the {self.kind} is empty, or has characters that no table can hold")
        if self.kind is SubjectKind.NUMBER and not re.fullmatch(r"\+[0-9]{5,15}", _without_separators(self.value)):
            raise ConfigurationError("the number is not E.164: write + and the country code first")

    @property
    def normalised(self) -> str:
        """The one spelling that stands for all that are taken for equal."""
        return _normalised(self.kind, self.value)

    @property
    def spellings(self) -> frozenset[str]:
        """Those that may have been hashed: a hash cannot be normalised any more."""
        given = self.value.strip()
        if self.kind is SubjectKind.NUMBER:
            return frozenset({given, self.normalised, self.normalised[1:]})
        url = given.rstrip("/")
        host = re.match(r"(?:\w+://)?[^/]*", url)
        end = host.end() if host else 0
        cased = {url, url.lower(), url[:end].lower() + url[end:]}
        return frozenset({given} | cased | {f"{one}/" for one in cased})

    def masked(self, text: str) -> str:
        """Return the text without the value: for messages that come from elsewhere."""
        for known in sorted({self.value.strip(), self.normalised}, key=len, reverse=True):
            text = re.sub(re.escape(known), "***", text, flags=re.IGNORECASE)
        return text


def _normalised(kind: SubjectKind, value: str) -> str:
    if kind is SubjectKind.NUMBER:
        digits = re.sub(r"[^0-9]", "", value)
        return f"+{digits}" if digits else ""
    return value.strip().rstrip("/").lower() if kind is SubjectKind.LINKEDIN_URL else value.strip()


def _is_storable(text: str) -> bool:
    return "\0" not in text and text.encode(errors="replace").decode() == text


def _without_separators(number: str) -> str:
    return re.sub(r"[\s().\-/]", "", number)


# What a later run leaves out ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Erasures:
    """What is not to be loaded again."""

    batches: frozenset[str] = frozenset()
    persons: Mapping[SubjectKind, frozenset[str]] = field(default_factory=dict)
    """Keyed hashes of the normalised values."""
    privacy: Privacy = field(default_factory=Privacy)

    @property
    def is_erased(self) -> Callable[[Mapping[str, pa.Array]], pa.Array] | None:
        """What tells the rows of erased persons, from the columns of `phone_results` in clear; None without persons."""
        return self._rows if self.persons else None

    def _rows(self, columns: Mapping[str, pa.Array]) -> pa.Array:
        masks = [self._equal(kind, columns[_COLUMNS[kind]]) for kind in self.persons]
        return masks[0] if len(masks) == 1 else pc.or_(*masks)

    def _equal(self, kind: SubjectKind, values: pa.Array) -> pa.Array:
        """Look at each distinct value once."""
        encoded, hashes = values.dictionary_encode(), self.persons[kind]
        erased = [self.privacy.keyed_hash(_normalised(kind, one)) in hashes for one in encoded.dictionary.to_pylist()]
        return pc.fill_null(pa.array(erased, pa.bool_()).take(encoded.indices), fill_value=False)


def read_erasures(privacy: Privacy) -> Erasures:
    """Read what was erased from the destination of the running pipeline; nothing outside a pipeline.

    Raises:
        ConfigurationError: Persons were erased, and the secret is missing or not the one of then.
    """
    try:
        dlt.current.load_package_state()
    except CurrentLoadPackageStateNotAvailable:
        return Erasures()
    pipeline, schema = dlt.current.pipeline(), dlt.current.source_schema()
    names = {"schema_name": schema.name} if schema.name in pipeline.schemas else {}
    try:
        with pipeline.sql_client(**names) as client:
            return _recorded(client, privacy)
    except SqlClientNotAvailable:
        return Erasures()  # nothing can be erased there


def _recorded(client: SqlClientBase[Any], privacy: Privacy) -> Erasures:
    columns = ", ".join(map(client.escape_column_name, ("subject", "subject_hash", "batch_id", "secret_check")))
    table = client.make_qualified_table_name(ERASURES)
    try:
        rows = client.execute_sql(f"SELECT DISTINCT {columns} FROM {table}") or ()  # noqa: S608 - constants
    except DestinationUndefinedEntity:
        return Erasures()
    persons: dict[SubjectKind, set[str]] = {}
    for subject, subject_hash, _, secret_check in rows:
        if subject != SubjectKind.BATCH:
            _check_secret(privacy, secret_check)
            persons.setdefault(SubjectKind(subject), set()).add(subject_hash)
    batches = frozenset(batch_id for subject, _, batch_id, _ in rows if subject == SubjectKind.BATCH)
    return Erasures(batches, {kind: frozenset(hashes) for kind, hashes in persons.items()}, privacy)


def _check_secret(privacy: Privacy, secret_check: str) -> None:
    if privacy.secret is None:
        raise ConfigurationError(
            f"persons were erased from this destination, and knowing them again needs the pii_secret of then: set"
            f" it under [sources.{SOURCE_NAME}] in .dlt/secrets.toml"
        )
    if _secret_check(privacy) != secret_check:
        raise ConfigurationError(
            f"pii_secret is not the one that {ERASURES} was written with, so erased persons would not be known"
            f" again: put the earlier one back under [sources.{SOURCE_NAME}] in .dlt/secrets.toml"
        )


def _secret_check(privacy: Privacy) -> str:
    return privacy.keyed_hash(ERASURES)[:SECRET_CHECK_CHARS]


# Erasing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased, or would be."""

    executed: bool
    rows: dict[str, int]
    """Rows by table; a copy that the last load left in the staging dataset is told apart."""
    unmatchable: str | None = None
    """A column that is null in all rows, as `pii="drop"` leaves it: nobody can be found by it."""


def erase(pipeline: dlt.Pipeline, subject: Subject, *, execute: bool = False, pii_secret: str | None = None) -> Erasure:
    """Remove a person or a batch from the dataset of the pipeline; without `execute`, only count.

    Args:
        pipeline: Names destination and dataset; best one of its own, in a folder that is thrown away.
        subject: Who or what.
        execute: Whether to do it.
        pii_secret: By default `pii_secret` under `[sources.enrow]`; a batch does not need it.

    Raises:
        ConfigurationError: Something to fix in the arguments or the settings; nothing was changed.
    """
    if not isinstance(pipeline.destination_client(), SqlJobClientBase):
        raise ConfigurationError(
            f"rows cannot be deleted with SQL from {pipeline.destination.destination_name}: rewrite its files without"
            " them, with the tool that manages them"
        )
    if execute and pipeline.has_pending_data:
        raise ConfigurationError("the pipeline has packages of a killed run, which may hold what is erased: load them")
    privacy = Privacy()
    if subject.kind is not SubjectKind.BATCH:
        privacy = Privacy(secret=pii_secret or resolve_configuration(_Secret(), sections=_SECTIONS).pii_secret)
        if privacy.secret is None:
            raise ConfigurationError(
                "erasing a person needs pii_secret, since only a keyed hash of the person is kept: set it under"
                f" [sources.{SOURCE_NAME}] in .dlt/secrets.toml, and keep it"
            )
    with pipeline.sql_client() as client:
        if privacy.secret is not None:
            _recorded(client, privacy)  # checks the secret against earlier ones
        found = list(_find(client, subject, privacy))
        if not any(not rows.is_staged for rows in found):
            raise ConfigurationError(
                f"dataset {pipeline.dataset_name} of {pipeline.destination.destination_name} has no table of the"
                " source: check the names of both"
            )
        counts = {rows.name: rows.count(client) for rows in found}
        unmatchable = None if any(counts.values()) else _unmatchable(client, subject)
    if execute:
        # First the record, then the rows: whoever is killed in between leaves rows that are still there and that the
        # next erasure finds, never a person that a later run brings back. The counts in the record come with the
        # deletion, so that a record without them tells of one that was not finished.
        load_id = _record(pipeline, subject, privacy)
        with pipeline.sql_client() as client:
            counts = _delete(client, found, load_id)
    return Erasure(execute, counts, unmatchable)


@configspec
class _Secret(BaseConfiguration):
    """The setting of the source that erasing takes too."""

    pii_secret: TSecretStrValue | None = None


_SECTIONS: Final = ("sources", SOURCE_NAME)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one table: those with one of the values in the column."""

    name: str
    """As it is told."""
    table: str
    """Qualified and escaped."""
    column: str
    values: Sequence[str]
    is_staged: bool

    @property
    def condition(self) -> str:
        return f"{self.column} IN ({', '.join(['%s'] * len(self.values))})"

    def count(self, client: SqlClientBase[Any]) -> int:
        sql = f"SELECT COUNT(*) FROM {self.table} WHERE {self.condition}"  # noqa: S608 - escaped names
        ((count,),) = client.execute_sql(sql, *self.values) or [(0,)]
        return int(count)


def _find(client: SqlClientBase[Any], subject: Subject, privacy: Privacy) -> Iterator[_Rows]:
    """Find the tables that exist, also the copies of the last load in the staging dataset, and what goes from them."""
    for is_staged in (False, True):
        place: AbstractContextManager[Any] = client.with_staging_dataset() if is_staged else nullcontext()
        with place:
            for name in _TABLES if subject.kind is SubjectKind.BATCH else (_RESULTS,):
                table = client.make_qualified_table_name(name)
                column = client.escape_column_name(_COLUMNS.get(subject.kind, "batch_id"))
                try:
                    values = _values(client, table, column, subject, privacy)
                except DestinationUndefinedEntity:
                    continue
                yield _Rows(f"{name} (staging)" if is_staged else name, table, column, values, is_staged)


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
        pattern = f"%{re.sub('[^a-hjl-z0-9:/.-]', '%', subject.normalised)}%"
    sql = f"SELECT DISTINCT {column} FROM {table} WHERE LOWER({column}) LIKE %s"  # noqa: S608 - escaped names
    similar = (value for (value,) in client.execute_sql(sql, pattern) or ())
    equal = {value for value in similar if _normalised(subject.kind, value) == subject.normalised}
    return sorted(equal | {privacy.keyed_hash(spelling) for spelling in subject.spellings})


def _unmatchable(client: SqlClientBase[Any], subject: Subject) -> str | None:
    column = _COLUMNS.get(subject.kind)
    if column is None:
        return None
    table = client.make_qualified_table_name(_RESULTS)
    sql = f"SELECT COUNT(*), COUNT({client.escape_column_name(column)}) FROM {table}"  # noqa: S608 - escaped names
    ((rows, filled),) = client.execute_sql(sql) or [(0, 0)]
    return column if rows and not filled else None


def _record(pipeline: dlt.Pipeline, subject: Subject, privacy: Privacy) -> str:
    """Write down the erasure, still without counts; return the load that it is under."""
    is_batch = subject.kind is SubjectKind.BATCH
    row = {
        "erased_at": datetime.now(UTC),
        "subject": subject.kind.value,
        "subject_hash": None if is_batch else privacy.keyed_hash(subject.normalised),
        "batch_id": subject.normalised if is_batch else None,
        "secret_check": None if is_batch else _secret_check(privacy),
    }
    packages = pipeline.run(_erasures(row)).load_packages
    # The state of a pipeline that also loads the source is in another one.
    return next(package.load_id for package in packages if package.schema_name == ERASURES)


@dlt.source(name=ERASURES)
def _erasures(row: dict[str, Any]) -> DltResource:
    resource: DltResource = dlt.resource([row], name=ERASURES, columns=_RECORD, write_disposition="append")
    resource.apply_hints(additional_table_hints={"description": "One row for a person or a batch that was erased."})
    return resource


def _hints(name: str, data_type: Any, description: str, *, nullable: bool = True) -> TColumnSchema:  # noqa: ANN401
    return {"name": name, "data_type": data_type, "nullable": nullable, "description": description}


_RECORD: Final[list[TColumnSchema]] = [
    _hints("erased_at", "timestamp", "When it was erased, UTC.", nullable=False),
    _hints("subject", "text", "What it was found by: `linkedin_url`, `number`, `batch`.", nullable=False),
    _hints("subject_hash", "text", "Keyed hash of the normalised value; null for a batch."),
    _hints("batch_id", "text", "The id of an erased batch; null for a person."),
    _hints("secret_check", "text", "Tells a changed `pii_secret`; null for a batch."),
    *(
        _hints(f"{table}_rows", "bigint", f"Rows erased from `{table}`; null where it was not finished.")
        for table in _TABLES
    ),
]


def _delete(client: SqlClientBase[Any], found: Sequence[_Rows], load_id: str) -> dict[str, int]:
    """Delete the rows, at once where the destination can, and write down how many."""
    counts: dict[str, int] = {}
    # Of destinations that have transactions, dlt says True or nothing.
    at_once = client.capabilities.supports_transactions is not False
    transaction: AbstractContextManager[Any] = client.begin_transaction() if at_once else nullcontext()
    with transaction:
        for rows in found:
            if rows.name == _RESULTS:
                _correct_ledger(client, rows)
            counts[rows.name] = rows.count(client)
            client.execute_sql(f"DELETE FROM {rows.table} WHERE {rows.condition}", *rows.values)  # noqa: S608
        erased = [counts.get(table, 0) for table in _TABLES]
        assignments = ", ".join(f"{client.escape_column_name(f'{table}_rows')} = %s" for table in _TABLES)
        client.execute_sql(
            f"UPDATE {client.make_qualified_table_name(ERASURES)} SET {assignments}"  # noqa: S608 - escaped names
            f" WHERE {client.escape_column_name('_dlt_load_id')} = %s",
            *erased,
            load_id,
        )
    return counts


def _correct_ledger(client: SqlClientBase[Any], results: _Rows) -> None:
    """Keep `results_loaded` the number of rows that are in `phone_results`."""
    batch_id, loaded = client.escape_column_name("batch_id"), client.escape_column_name("results_loaded")
    sql = (
        f"SELECT {batch_id}, SUM(CASE WHEN {results.condition} THEN 0 ELSE 1 END) FROM {results.table}"  # noqa: S608
        f" WHERE {batch_id} IN (SELECT {batch_id} FROM {results.table} WHERE {results.condition}) GROUP BY {batch_id}"
    )
    # Set and not subtracted, so that doing it again does no harm where there are no transactions.
    for erased_from, kept in client.execute_sql(sql, *results.values, *results.values) or ():
        client.execute_sql(
            f"UPDATE {client.make_qualified_table_name(_LEDGER)} SET {loaded} = %s WHERE {batch_id} = %s",  # noqa: S608
            int(kept),
            erased_from,
        )
