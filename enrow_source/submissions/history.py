"""What is known of the people in the input: read from the destination as a stream, of which only their part is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..api.models import BatchStatus
from ..destination.suppressions import ERASURES, recorded_suppressions
from ..tables.person import PERSON_FIELDS, person_key, profile_spellings
from ..tables.privacy import Privacy
from ..tables.schema import PHONE_RESULTS, PHONE_RESULTS_LEDGER, SUBMISSIONS, SUBMITTED_SEARCHES
from .people import Person
from .plan import Attempts
from .protocol import SubmissionState
from .store import Store


@dataclass(slots=True)
class History:
    """What is known, by what stands for a person."""

    attempts: dict[str, Attempts] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    """The share found so far, from 0 to 1, for each kind of search."""

    def of(self, key: str) -> Attempts | None:
        """Return what is known of a person; None for nothing."""
        return self.attempts.get(key)


def read_history(store: Store, people: Mapping[str, Person], privacy: Privacy) -> History:
    """Read what the destination knows of these people; nothing where there are no tables.

    Submissions before results: what ends between the two reads is still taken for pending.
    """
    reader = _Reader(store, people, privacy)
    if store.has(SUBMISSIONS.name) and store.has(SUBMITTED_SEARCHES.name):
        reader.read_submissions()
    if store.has(PHONE_RESULTS.name):
        reader.read_results()
    if store.has(ERASURES):
        reader.read_erasures()
    return reader.history


class _Reader:
    def __init__(self, store: Store, people: Mapping[str, Person], privacy: Privacy) -> None:
        self._store = store
        self._people = people
        self._privacy = privacy
        self._stored = _stored_keys(people.values(), privacy)
        self._at: dict[tuple[str, int], str] = {}
        """Who of the input stands where in which batch."""
        self.history = History()

    def _note(self, key: str) -> Attempts:
        return self.history.attempts.setdefault(key, Attempts())

    def read_submissions(self) -> None:
        """Read who is in a submission, and whether it is over: where its batch has ended and is loaded."""
        store = self._store
        has_ledger = store.has(PHONE_RESULTS_LEDGER.name)
        status = store.column("status", "l") if has_ledger else "NULL"
        tables = (
            f"{store.table(SUBMITTED_SEARCHES.name)} s JOIN {store.table(SUBMISSIONS.name)} u"
            f" ON {store.column('submission_id', 'u')} = {store.column('submission_id', 's')}"
        )
        if has_ledger:
            ledger, batch_id = store.table(PHONE_RESULTS_LEDGER.name), store.column("batch_id", "u")
            tables += f" LEFT JOIN {ledger} l ON {store.column('batch_id', 'l')} = {batch_id}"
        columns = [
            store.column("person_key", "s"),
            store.column("index", "s"),
            store.column("state", "u"),
            store.column("batch_id", "u"),
            store.column("created_at", "u"),
            status,
        ]
        for stored, index, state, submitted_as, created_at, batch_status in store.stream(columns, tables):
            key = self._stored.get(stored)
            if key is None or state in (SubmissionState.REFUSED, SubmissionState.CANCELLED):
                continue
            if (
                state == SubmissionState.ACCEPTED
                and batch_status is not None
                and BatchStatus.of(batch_status).is_terminal
            ):
                # It was paid for; where it has no result that says otherwise, nothing was found.
                self._note(key).add(_utc(created_at), is_found=False)
                self._at[submitted_as, int(index)] = key
            else:
                self._note(key).is_pending = True

    def read_results(self) -> None:
        """Read who was searched, in whatever way the batch was submitted, and how many of each kind were found."""
        names = ["batch_id", "index", "qualification", "fetched_at", *(f"params__{name}" for name in PERSON_FIELDS)]
        table = self._store.table(PHONE_RESULTS.name)
        searched, found = Counter[str](), Counter[str]()
        for row in self._store.stream([self._store.column(name) for name in names], table):
            batch_id, index, qualification, fetched_at, *values = row
            is_found = qualification == "found"
            kind = "profile_url" if values[0] else "name_and_company"
            searched[kind] += 1
            found[kind] += is_found
            stored = person_key(dict(zip(PERSON_FIELDS, values, strict=True)))
            key = self._stored.get(stored) if stored is not None else None
            key = key or (self._at.get((batch_id, int(index))) if index is not None else None)
            if key is not None:
                self._note(key).add(_utc(fetched_at), is_found=is_found)
        self.history.shares = {kind: found[kind] / count for kind, count in searched.items()}

    def read_erasures(self) -> None:
        """Read who was erased; the table has keyed hashes alone."""
        hashes = recorded_suppressions(self._store.client, self._privacy).people
        if not hashes:
            return
        for key in self._people:
            if self._privacy.keyed_hash(key) in hashes:
                self._note(key).is_erased = True


def _stored_keys(people: Iterable[Person], privacy: Privacy) -> dict[str, str]:
    """Return what may stand for each person in the tables: itself, or hashes of it where personal data is hashed."""
    stored: dict[str, str] = {}
    for person in people:
        stored[person.key] = person.key
        if privacy.secret is not None:
            stored[privacy.keyed_hash(person.key)] = person.key
            stored.update(dict.fromkeys(_hashed_keys(person, privacy.keyed_hash), person.key))
    return stored


def _hashed_keys(person: Person, keyed_hash: Callable[[str], str]) -> Iterable[str]:
    """Return the keys of rows of `phone_results` whose values were hashed as they were submitted."""
    if url := person.search.get("linkedin_url"):
        return [keyed_hash(spelling) for spelling in profile_spellings(url)]
    key = person_key({name: keyed_hash(value) for name, value in person.search.items()})
    return [] if key is None else [key]


def _utc(at: Any) -> datetime:  # noqa: ANN401 - drivers give a datetime
    moment: datetime = at
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
