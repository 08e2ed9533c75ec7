"""Erased people and batches, which later runs leave out."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable
from dlt.common.typing import TSecretStrValue

from ..api.access import SourceSettings
from ..errors import ConfigurationError, RunError
from ..lazy import pa, pc
from ..settings import SECRET_CHECK_CHARS, SOURCE_NAME
from ..tables.person import is_international, number_key, number_spellings, profile_key, profile_spellings
from ..tables.privacy import Pii, Privacy
from .load_status import loads_table
from .session import Session
from .sql import utc

if TYPE_CHECKING:
    from dlt.common.schema import Schema
    from dlt.destinations.sql_client import SqlClientBase

ERASURES: Final = "enrow_erasures"
"""The table, and the schema that it is alone in."""


class SubjectKind(StrEnum):
    """What can be erased; the column `subject` of `enrow_erasures`."""

    LINKEDIN_URL = "linkedin_url"
    NUMBER = "number"
    BATCH = "batch"


_NOBODY: Final = re.compile(r"linkedin\.[^/]+(/(in|pub))?")
"""A normalised address without the name of a profile."""

PERSON: Final = "person"
"""Also in the column `subject`: what stands for somebody whose rows were erased."""

PERSON_COLUMNS: Final = {SubjectKind.LINKEDIN_URL: "params__linkedin_url", SubjectKind.NUMBER: "number"}
"""The column of `phone_results` that a person is found by."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The person or the batch to erase; `value` is shown nowhere. Raises ConfigurationError where it cannot be one."""

    kind: SubjectKind
    value: str = field(repr=False)

    def __post_init__(self) -> None:
        """Check the value: one that can match nothing would pass for a person who is not there."""
        if not self.normalised or not _is_storable(self.value):
            raise ConfigurationError(f"the {self.kind} is empty, or has characters that no table can hold")
        if self.kind is SubjectKind.BATCH and re.search(r"[\s,;]", self.normalised):
            raise ConfigurationError("the batch id has white space or a separator inside: erase one batch at a time")
        if self.kind is SubjectKind.LINKEDIN_URL and _NOBODY.fullmatch(self.normalised):
            raise ConfigurationError("the linkedin_url names no profile: write it with /in/NAME")
        if self.kind is SubjectKind.NUMBER and not is_international(self.value):
            raise ConfigurationError("the number is not E.164: write + and the country code first")

    @property
    def normalised(self) -> str:
        """The one spelling that stands for all that are taken for equal."""
        return normalised_value(self.kind, self.value)

    @property
    def spellings(self) -> frozenset[str]:
        """Those that may have been hashed: a hash cannot be normalised any more."""
        return (number_spellings if self.kind is SubjectKind.NUMBER else profile_spellings)(self.value)

    def masked(self, text: str) -> str:
        """Return the text without the value: for messages that come from elsewhere."""
        given = self.value.strip()
        for known in sorted({given, given.rstrip("/"), self.normalised}, key=len, reverse=True):
            text = re.sub(re.escape(known), "***", text, flags=re.IGNORECASE)
        return text


def normalised_value(kind: SubjectKind, value: str) -> str:
    """Return the one spelling of a value that stands for all that are taken for equal."""
    if kind is SubjectKind.NUMBER:
        return number_key(value)
    return profile_key(value) if kind is SubjectKind.LINKEDIN_URL else value.strip()


def _is_storable(text: str) -> bool:
    return "\0" not in text and text.encode(errors="replace").decode() == text


@dataclass(frozen=True, slots=True)
class Suppressions:
    """What is not to be loaded again."""

    batches: frozenset[str] = frozenset()
    persons: Mapping[SubjectKind, frozenset[str]] = field(default_factory=dict)
    """Keyed hashes of the normalised values."""
    people: frozenset[str] = frozenset()
    """Keyed hashes of what stands for each erased person, whatever it was found by: nobody of them is submitted."""
    privacy: Privacy = field(default_factory=Privacy)
    secret_check: str | None = None
    """Identifies the secret that the hashes were made with; None without persons."""
    last_erased_at: datetime | None = None
    """When the last person was erased, UTC; None without persons."""

    def __bool__(self) -> bool:
        return bool(self.batches or self.persons)

    def __str__(self) -> str:
        """Return how much is left out, without naming anybody."""
        return f"{sum(map(len, self.persons.values()))} persons and {len(self.batches)} batches"

    def without_secret(self) -> Self:
        """Return what may travel to another process."""
        return replace(self, privacy=Privacy())

    def with_secret(self, privacy: Privacy) -> Self:
        """Return what has travelled, with the secret of this process; raises ConfigurationError as `_check_secret`."""
        if self.secret_check is not None:
            _check_secret(privacy, self.secret_check)
        return replace(self, privacy=privacy)

    def __or__(self, other: Self) -> Self:
        """Return what either leaves out; both are of one secret."""
        kinds = {*self.persons, *other.persons}
        none: frozenset[str] = frozenset()
        dates = [at for at in (self.last_erased_at, other.last_erased_at) if at is not None]
        return replace(
            self,
            batches=self.batches | other.batches,
            persons={kind: self.persons.get(kind, none) | other.persons.get(kind, none) for kind in kinds},
            people=self.people | other.people,
            secret_check=self.secret_check or other.secret_check,
            last_erased_at=max(dates, default=None),
        )

    @property
    def is_erased(self) -> Callable[[Mapping[str, pa.Array]], pa.Array] | None:
        """Finds the rows of erased persons, from the columns of `phone_results` in clear; None without persons."""
        return self._rows if self.persons else None

    def _rows(self, columns: Mapping[str, pa.Array]) -> pa.Array:
        masks = [self._equal(kind, columns[PERSON_COLUMNS[kind]]) for kind in self.persons]
        return masks[0] if len(masks) == 1 else pc.or_(*masks)

    def _equal(self, kind: SubjectKind, values: pa.Array) -> pa.Array:
        """Check each distinct value once."""
        encoded, hashes = values.dictionary_encode(), self.persons[kind]
        erased = [
            self.privacy.keyed_hash(normalised_value(kind, one)) in hashes for one in encoded.dictionary.to_pylist()
        ]
        return pc.fill_null(pa.array(erased, pa.bool_()).take(encoded.indices), fill_value=False)


def read_suppressions(session: Session, privacy: Privacy, given: Suppressions | None = None) -> Suppressions:
    """Read what was erased from the destination, and add what is `given`; nothing outside a pipeline.

    Raises ConfigurationError where persons were erased, and the secret is missing or not the one of then.
    """
    suppressions = Suppressions(privacy=privacy)
    if session.pipeline is not None:
        # Without a client nothing can be erased there.
        with suppress(SqlClientNotAvailable), session.sql_client() as client:
            suppressions = recorded_suppressions(client, privacy)
    return suppressions if given is None else suppressions | given.with_secret(privacy)


def recorded_suppressions(client: SqlClientBase[Any], privacy: Privacy) -> Suppressions:
    """Read `enrow_erasures`; nothing where there is no such table."""
    names = ("subject", "subject_hash", "batch_id", "secret_check", "erased_at")
    columns = ", ".join(map(client.escape_column_name, names))
    table = client.make_qualified_table_name(ERASURES)
    try:
        rows = client.execute_sql(f"SELECT {columns} FROM {table}") or ()  # noqa: S608 - constants
    except DestinationUndefinedEntity:
        return Suppressions(privacy=privacy)
    persons: dict[SubjectKind, set[str]] = {}
    people: set[str] = set()
    for subject, subject_hash, _, secret_check, _ in rows:
        if subject != SubjectKind.BATCH:
            _check_secret(privacy, secret_check)
            (people if subject == PERSON else persons.setdefault(SubjectKind(subject), set())).add(subject_hash)
    # What stands for a person with a profile is the normalised address of it.
    people |= persons.get(SubjectKind.LINKEDIN_URL, set())
    return Suppressions(
        frozenset(batch_id for subject, _, batch_id, *_ in rows if subject == SubjectKind.BATCH),
        {kind: frozenset(hashes) for kind, hashes in persons.items()},
        frozenset(people),
        privacy,
        secret_fingerprint(privacy) if persons else None,
        max(filter(None, (utc(at) for subject, *_, at in rows if subject != SubjectKind.BATCH)), default=None),
    )


def refuse_erased_since(session: Session, known: Collection[str]) -> None:
    """Raise RunError where something was erased since; to be called where the lock on the dataset is held.

    Each erasure is a load of its own; `known` has those that were there when the run asked who was erased.
    """
    if not session.is_filesystem:  # nothing can be erased there
        with session.sql_client() as client:
            refuse_unknown(read_erasures(client, session.schema), known)


def read_erasures(client: SqlClientBase[Any], schema: Schema) -> set[str]:
    """Return the loads that wrote down what was erased; none where nothing was ever loaded."""
    try:
        return {load_id for (load_id,) in client.execute_sql(select_erasures(client, schema)) or ()}
    except DestinationUndefinedEntity:
        return set()


def select_erasures(client: SqlClientBase[Any], schema: Schema, prefix: str = "") -> str:
    """Return the query for the loads that wrote down what was erased."""
    table, load_id, _ = loads_table(client, schema)
    of_schema = client.escape_column_name(schema.naming.normalize_identifier("schema_name"))
    selected = f"'{prefix}' || {load_id}" if prefix else load_id
    return f"SELECT {selected} FROM {table} WHERE {of_schema} = '{ERASURES}'"  # noqa: S608 - escaped names


def refuse_unknown(found: set[str], known: Collection[str]) -> None:
    """Raise RunError where some of these erasures are not known."""
    if not found.issubset(known):
        raise RunError(
            "somebody was erased while this run fetched, and it may have fetched them before: nothing was loaded. Run"
            " again with the same ids"
        )


def _check_secret(privacy: Privacy, secret_check: str) -> None:
    if privacy.secret is None:
        raise ConfigurationError(
            f"persons were erased from this destination, and knowing them again needs the pii_secret of then: set"
            f" it under [sources.{SOURCE_NAME}] in .dlt/secrets.toml"
        )
    if secret_fingerprint(privacy) != secret_check:
        raise ConfigurationError(
            f"pii_secret is not the one that {ERASURES} was written with, so erased persons would not be known"
            f" again: put the earlier one back under [sources.{SOURCE_NAME}] in .dlt/secrets.toml"
        )


def secret_fingerprint(privacy: Privacy) -> str:
    """Return a few characters of a keyed hash of a constant: they change with the secret."""
    return privacy.keyed_hash(ERASURES)[:SECRET_CHECK_CHARS]


@configspec
class _Privacy(SourceSettings):
    """The settings of the source that erasing and hiding take too."""

    pii: str = Pii.KEEP.value
    pii_secret: TSecretStrValue | None = None


def configured_privacy() -> Privacy:
    """Return the secret that is configured, if there is one; raises ConfigurationError where it is too short."""
    return Privacy(secret=_configured().pii_secret)


def configured_pii() -> Privacy:
    """Return what is configured to become of personal data; raises ConfigurationError where it cannot be."""
    configured = _configured()
    if configured.pii not in list(Pii):
        raise ConfigurationError(f"pii is {configured.pii!r}: set it to {', '.join(Pii)}")
    return Privacy(Pii(configured.pii), configured.pii_secret)


def _configured() -> _Privacy:
    return resolve_configuration(_Privacy(), sections=("sources", SOURCE_NAME))
