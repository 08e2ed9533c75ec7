"""Warnings of a run in dlt's log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from dlt.common import logger

from .ids.input import BatchIdsRead
from .settings import CREDITS_PER_FOUND, INVALID_IDS_LOGGED, UNKNOWN_STATUS_H
from .tables.rows import RowContext


def of_stuck(stuck: Mapping[str, datetime], hours: float | None) -> None:
    """Warn of batches that have been pending for too long."""
    if stuck:
        named = ", ".join(f"{batch_id!r:.80} since {stuck[batch_id]:%Y-%m-%d %H:%M}" for batch_id in sorted(stuck)[:5])
        logger.warning(f"{len(stuck)} batches have been pending for more than {hours:g} hours: {named}")


def of_expiry(old: Mapping[str, datetime], requested: Mapping[str, int], hours: float | None) -> None:
    """Warn of batches whose ids may expire, with the credits at stake."""
    if old:
        named = _named(sorted(old, key=lambda i: old[i])[:5])
        logger.warning(
            f"{len(old)} batches have been pending for more than {hours:g} hours, the oldest first: {named}. The API"
            " lets ids expire, after a time that it does not document, and what their credits have paid for is lost"
            f" then: {_at_stake([requested.get(batch_id, 0) for batch_id in old])}. Ask Enrow about them"
        )


def of_lost(requested: Mapping[str, int]) -> None:
    """Warn of batches that earlier runs have seen and that are unknown now, with the searches `requested` in each."""
    if requested:
        named = _named(list(requested)[:5])
        logger.warning(
            f"{len(requested)} batches that earlier runs have seen pending are unknown to the API now, or expired:"
            f" {named}. What their credits have paid for may be lost: {_at_stake(requested.values())}. Ask Enrow about"
            " them"
        )


def _named(batch_ids: Sequence[str]) -> str:
    return ", ".join(f"{batch_id!r:.80}" for batch_id in batch_ids)


def _at_stake(requested: Collection[int]) -> str:
    searches, unknown = sum(requested), sum(not count for count in requested)
    besides = f", and {unknown:,} batches whose size is not known" if unknown else ""
    return f"up to {searches * CREDITS_PER_FOUND:,.0f} credits for {searches:,} searches{besides}"


def of_outage(failure: str) -> None:
    """Warn of an API that does not answer; `failure` names the host."""
    logger.error(f"the run ends early, since the API does not answer: {failure}")


def of_rows_in_clear() -> None:
    """Warn of what earlier runs have loaded with `pii="keep"`."""
    logger.warning(
        'rows that earlier runs loaded with pii = "keep" stay in clear: enrow erase --existing --execute hides them'
    )


def of_erased(batch_ids: Collection[str]) -> None:
    """Warn of batches that the caller names and that were erased."""
    if batch_ids:
        named = _named(sorted(batch_ids)[:INVALID_IDS_LOGGED])
        logger.warning(f"{len(batch_ids)} batches were erased, and are never fetched again: {named}")


def of_given_up(batch_ids: Sequence[str]) -> None:
    """Warn of deferred ids that this run gave up."""
    if batch_ids:
        named = _named(batch_ids[:INVALID_IDS_LOGGED])
        logger.warning(
            f"{len(batch_ids)} deferred ids are given up, since the API does not know them or has let them expire:"
            f" {named}; they stay in deferred_batch_ids, and are fetched only where batch_ids names them"
        )


def of_invalid_entries(read: BatchIdsRead) -> None:
    """Warn of entries that are no batch ids."""
    messages = read.invalid
    if read.skipped_events:
        logger.info(f"{read.skipped_events} webhook events of other products are passed over")
    for message in list(messages)[:INVALID_IDS_LOGGED]:
        logger.warning(f"skipped among the batch ids: {message}")
    if len(messages) > INVALID_IDS_LOGGED:
        logger.warning(f"skipped among the batch ids: {len(messages) - INVALID_IDS_LOGGED} more")


def of_undocumented(unknown: Mapping[str, str]) -> None:
    """Warn of statuses that are not documented and that have lasted for long."""
    if unknown:
        named = ", ".join(f"{batch_id!r:.80} is {unknown[batch_id]!r:.40}" for batch_id in sorted(unknown)[:5])
        logger.warning(
            f"{len(unknown)} batches have a status that is not documented, and have been pending for more than"
            f" {UNKNOWN_STATUS_H} hours; their results are not loaded: {named}"
        )


def of_columns(context: RowContext) -> None:
    """Warn of fields that got no column."""
    for (table, key), count in sorted(context.names.discarded.items())[:INVALID_IDS_LOGGED]:
        logger.warning(f"schema_contract of {table} leaves out {count} rows or values for their field {key[:40]!r}")
    for table in sorted({table for table, _ in context.names.overflowed}):
        keys = sorted(key[:40] for name, key in context.names.overflowed if name == table)
        logger.warning(
            f"{len(keys)} undocumented fields for {table} got no column of their own, and are in its JSON column"
            f" overflow or params__overflow: {', '.join(map(repr, keys[:5]))}..."
        )
