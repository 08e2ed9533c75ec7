"""What a run fetches. Pure: ids, ledger, suppressions and options in, a plan out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from .destination.ledger import LedgerEntry, LedgerSnapshot
from .ids.shard import Shard
from .settings import UNKNOWN_STATUS_H
from .tables.rows import DeferredId


class GiveUp(NamedTuple):
    """When a deferred id that the API does not know is given up: when both are over."""

    fetches: int
    """Fetches that the API answered with 'unknown or expired'."""
    days: float
    """Since the id was first deferred."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The batches of one run."""

    due: Sequence[str]
    """All that are to be fetched some time: never fetched ones first, those whose last fetch failed at the end."""
    fetch: Sequence[str]
    """Those that this run fetches: some of them, where `max_batches` bounds the run."""
    entries: Mapping[str, LedgerEntry]
    """What the ledger knows of batches that are not loaded for good."""

    @property
    def first_seen(self) -> dict[str, datetime]:
        """When a run first knew of each batch."""
        return {batch_id: entry.first_seen for batch_id, entry in self.entries.items() if entry.first_seen is not None}

    @property
    def with_results(self) -> frozenset[str]:
        """Batches that have rows in `phone_results`."""
        return frozenset(batch_id for batch_id, entry in self.entries.items() if entry.has_results)

    @property
    def failed(self) -> frozenset[str]:
        """Batches whose last fetch failed."""
        return frozenset(batch_id for batch_id, entry in self.entries.items() if entry.has_failed)

    def deferred(  # noqa: PLR0913, PLR0917 - what a run knows of its ids
        self,
        read: Collection[str],
        submitted: Collection[str],
        answered: AbstractSet[str],
        unknown: AbstractSet[str],
        now: datetime,
        end: GiveUp,
    ) -> list[DeferredId]:
        """Return the ids that later runs fetch although no input may name them again, where this run changes them.

        A batch that was seen ongoing, or was submitted, is fetched unnamed already: it is among them once the API does
        not know it any more, so that the asking for it ends too.

        Args:
            read: Ids of resources, whose cursors have moved past them.
            submitted: Ids that `enrow submit` has kept.
            answered: Batches that the API answered for in this run.
            unknown: Batches that it answered with 'unknown or expired'.
            now: When the run ends.
            end: When an id is given up.
        """
        deferred = []
        for batch_id in self.due:
            entry = self.entries.get(batch_id)
            if entry is None or entry.unknown_answers is None:
                is_pending = entry is not None and entry.is_pending
                is_left = batch_id in read and batch_id not in answered and not is_pending
                is_lost = batch_id in unknown and (is_pending or batch_id in submitted)
                if is_left or is_lost:
                    deferred.append(DeferredId(batch_id, now, int(batch_id in unknown)))
            elif batch_id in answered and (entry.is_given_up or entry.unknown_answers):
                deferred.append(DeferredId(batch_id, now))
            elif batch_id in unknown:
                since, answers = entry.deferred_at or now, entry.unknown_answers + 1
                is_over = answers >= end.fetches and now - since >= timedelta(days=end.days)
                given_up_at = now if is_over or entry.is_given_up else None
                deferred.append(DeferredId(batch_id, since, answers, given_up_at))
        return deferred

    def given_up(self, deferred: Collection[DeferredId]) -> list[str]:
        """Return those of the deferred ids that this run gave up, and no run before it."""
        return [i.batch_id for i in deferred if i.given_up_at is not None and not self.entries[i.batch_id].is_given_up]

    def stuck(self, hours: float | None, ended: AbstractSet[str], now: datetime) -> dict[str, datetime]:
        """Return the batches that have been pending for longer than `hours`, and since when.

        Args:
            hours: None for none of them.
            ended: Batches that this run found completed or failed.
            now: When the run ends.
        """
        if hours is None:
            return {}
        limit = now - timedelta(hours=hours)
        pending = self._pending
        since = {i: self.entries[i].first_seen for i in self.due if i in pending and i not in ended}
        return {batch_id: seen for batch_id, seen in since.items() if seen is not None and seen < limit}

    def undocumented_for_long(self, undocumented: Mapping[str, str], now: datetime) -> dict[str, str]:
        """Return the batches, and their status, that nobody documents and that have been pending for a day.

        Where only `batch_stats` or `phone_results` is loaded, nobody knows since when: from the second fetch on, then.
        """
        limit = now - timedelta(hours=UNKNOWN_STATUS_H)
        known = {i: self.entries[i] for i in undocumented if i in self.entries}
        long = [i for i, e in known.items() if e.last_fetched_at and (e.first_seen is None or e.first_seen < limit)]
        return {batch_id: undocumented[batch_id] for batch_id in long}

    @property
    def _pending(self) -> frozenset[str]:
        return frozenset(batch_id for batch_id, entry in self.entries.items() if entry.is_pending)


def plan_batches(
    ledger: LedgerSnapshot,
    suppressed: Collection[str],
    shard: Shard,
    max_batches: int | None = None,
    given: Collection[str] = (),
) -> Plan:
    """Decide which batches are fetched, and in which order.

    A batch is due where an input names it and it is not loaded for good, or where the ledger has it as pending. Ids
    that an earlier run deferred come first, the oldest before all, then new ones in the order of the input, then those
    fetched longest ago, and at the end those whose last fetch failed, again the longest ago first.

    In a bounded run the last place goes to a failed one that has waited longer than who would have it: however many
    batches are pending, every one has its turn.

    Args:
        ledger: What the destination knows.
        suppressed: Erased batches.
        shard: The part of the ids that this run fetches.
        max_batches: The most that this run fetches; None for no limit.
        given: Ids that the caller names: they are fetched also where they were given up.
    """
    unseen = [i for i, entry in ledger.entries.items() if entry.is_pending and entry.last_fetched_at is None]
    deferred = sorted(unseen, key=lambda i: ((at := ledger.entries[i].first_seen) is None, at, i))
    new = [i for i in ledger.missing if i not in ledger.entries or ledger.entries[i].last_fetched_at is None]
    missing = set(ledger.missing)
    again = sorted(
        (entry.has_failed, entry.last_fetched_at, batch_id)
        for batch_id, entry in ledger.entries.items()
        if entry.last_fetched_at is not None and (entry.is_pending or batch_id in missing)
    )
    ordered = dict.fromkeys([*deferred, *new, *(batch_id for *_, batch_id in again)])
    given_up = {batch_id for batch_id, entry in ledger.entries.items() if entry.is_given_up}
    left = given_up.difference(given).union(suppressed) if given_up else suppressed
    due = [batch_id for batch_id in shard.select(tuple(ordered)) if batch_id not in left]
    return Plan(due, _bounded(due, ledger.entries, max_batches), ledger.entries)


def _bounded(due: list[str], entries: Mapping[str, LedgerEntry], max_batches: int | None) -> list[str]:
    """Take the first batches, and in the last place who of the next ones and the failed ones has waited longest."""
    if max_batches is None or len(due) <= max_batches:
        return due
    *first, last = due[:max_batches]
    failed = next((i for i in due[max_batches:] if i in entries and entries[i].has_failed), None)
    if failed is not None and last in entries:
        since, failed_at = entries[last].last_fetched_at, entries[failed].last_fetched_at
        if since is not None and failed_at is not None and failed_at < since:
            last = failed
    return [*first, last]
