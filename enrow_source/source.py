"""The source: batch ids in, `batches`, `batch_stats`, `phone_results` and `batch_errors` out.

API: `GET https://api.enrow.io/phone/bulk?id={batch_id}`, https://enrow.readme.io
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import Any

import dlt
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from .api.access import checked_is_set
from .api.client import EnrowClient
from .destination.packages import delete_half_normalized
from .destination.session import active_pipeline
from .destination.suppressions import Suppressions
from .extract import extract
from .fetch.results import Chunk, Progress
from .ids.configured import configured_resources
from .ids.input import BatchIds, no_batch_ids, read_batch_ids
from .ids.shard import Shard
from .lazy import pa
from .options import Options, check_limits, check_names, contract_hints, in_own_section, parse_pii
from .resources import declare_tables, results_of, route_to_table, rows_of, summary_of
from .settings import (
    BASE_URL,
    CONNECTIONS,
    GIVE_UP_DAYS,
    GIVE_UP_FETCHES,
    MAX_CONSECUTIVE_FAILURES,
    MAX_RESPONSE_MB,
    WARN_AFTER_H,
)
from .tables.privacy import Pii, Privacy
from .tables.rows import batch_errors_table, batch_stats_table, batches_table, phone_results_ledger_table
from .tables.schema import BATCH_ERRORS, BATCH_STATS, BATCHES, PHONE_RESULTS, PHONE_RESULTS_LEDGER


@in_own_section
def enrow_source(  # noqa: PLR0913, PLR0917 - a source's arguments are its options
    batch_ids: BatchIds = (),
    enrow_api_key: TSecretStrValue | None = None,
    enrow_base_url: str = BASE_URL,
    max_batches: int | None = None,
    retry_failed: bool = False,  # noqa: FBT001, FBT002 - dlt reads it from the configuration by its name
    refetch: bool = False,  # noqa: FBT001, FBT002 - as above
    connections: int = CONNECTIONS,
    deadline_s: float | None = None,
    max_consecutive_failures: int = MAX_CONSECUTIVE_FAILURES,
    max_response_mb: float = MAX_RESPONSE_MB,
    pii: str = Pii.KEEP.value,
    pii_secret: TSecretStrValue | None = None,
    shard: str | None = None,
    batch_ids_file: str | Sequence[str] | None = None,
    batch_ids_query: str | None = None,
    batch_ids_cursor: str | None = None,
    batch_ids_database: TSecretStrValue | None = None,
    pending_only: bool = False,  # noqa: FBT001, FBT002 - as above
    give_up_fetches: int = GIVE_UP_FETCHES,
    give_up_days: float = GIVE_UP_DAYS,
    stuck_after_h: float | None = None,
    warn_after_h: float | None = WARN_AFTER_H,
    suppressions: Suppressions | None = None,
    schema_contract: Any = None,  # noqa: ANN401 - checked by `contract_hints`
    stop: Event | None = None,
    progress: Callable[[Progress], None] | None = None,
    **unknown_options: Any,  # noqa: ANN401 - named in an error, whatever it is
) -> Sequence[DltResource]:
    """Load bulk phone searches by their batch ids, incrementally: what the destination holds is not fetched again.

    Every option can also stand in `.dlt/config.toml` under `[sources.enrow]`, or in the environment as
    `SOURCES__ENROW__<OPTION>`; a bare `<OPTION>` is never read, but for `ENROW_API_KEY`.

    Args:
        batch_ids: Ids as `POST /phone/bulk` returned them: an iterable of strings, or a dlt resource that yields
            strings, or dicts with an `id` or a `batch_id`, or tables; or several of both. They are trimmed, each is
            used once, the order is kept. `batch_ids_from_files` and `batch_ids_from_query` make such resources.
        enrow_api_key: The key of the account; by default from `.dlt/secrets.toml` or `ENROW_API_KEY`.
        enrow_base_url: Scheme and host of the API; https, or http on a loopback address.
        max_batches: Most batches to fetch in one run; batches never fetched go first. None for no limit.
        retry_failed: Whether batches that the API reports as `failed` are fetched again.
        refetch: Whether the ids in `batch_ids` are fetched again where they are loaded already; others never are.
        connections: Batches fetched at the same time, 1 to 256.
        deadline_s: Seconds after which no new fetches start; what is there is loaded. None for no limit.
        max_consecutive_failures: Batches in a row that the API does not answer for, after which the run stops.
        max_response_mb: The most that one response may have; a larger one is a row of `batch_errors`.
        pii: What becomes of phone numbers, `params` and `custom`: `keep` them, `hash` them with `pii_secret` (equal
            values stay equal), or `drop` them. Nothing of them is written in clear then, not even for a while.
        pii_secret: Keys the hashes; from `.dlt/secrets.toml`. Another secret gives other hashes.
        shard: `3/8` fetches the third of eight parts of the ids alone: for several workers at a time.
        batch_ids_file: Paths, globs or bucket URLs of files to read ids from, besides `batch_ids`.
        batch_ids_query: A SELECT to read ids from as well, at `batch_ids_database`, else at the destination.
        batch_ids_cursor: A column of the query that grows: rows below its highest value are not read again.
        batch_ids_database: SQLAlchemy URL of the database of the query, from `.dlt/secrets.toml`.
        pending_only: Whether no ids are read, and only batches that an earlier run left pending are fetched.
        give_up_fetches: Fetches of a deferred id that the API answered with 'unknown or expired', after which it is
            given up: it stays in `deferred_batch_ids`, and is fetched only where `batch_ids` names it.
        give_up_days: Days since the id was deferred, before which it is not given up.
        stuck_after_h: Hours after which a batch that is still pending is reported as stuck. None for never.
        warn_after_h: Hours after which the log warns of a batch that is still pending: its id may expire, and with it
            what its credits have paid for. None for never.
        suppressions: Erased people and batches, besides those that the destination records: for a lake that is
            published to another destination.
        schema_contract: dlt's contract for the tables that the API fills: a mode (`evolve`, `freeze`, `discard_row`,
            `discard_value`), or a mapping of `tables`, `columns`, `data_type` to modes.
        stop: Stops the run as a deadline does, when it is set: for a signal handler.
        progress: Called for each fetched batch, in the thread of the run; what it raises ends the run.
        unknown_options: Anything else is an error that names the option that was meant.

    Returns:
        The resources `batches`, `batch_stats`, `phone_results` and `batch_errors`; `with_resources` selects some.
        One batch is one GET, whatever is selected.

    Raises:
        ConfigurationError: Something to fix in the arguments or the settings; before the first request.
    """
    check_names(unknown_options, option_names())
    limits = {"max_batches": max_batches, "connections": connections, "deadline_s": deadline_s}
    limits |= {"give_up_fetches": give_up_fetches, "give_up_days": give_up_days, "warn_after_h": warn_after_h}
    limits |= {"stuck_after_h": stuck_after_h, "max_consecutive_failures": max_consecutive_failures}
    check_limits(limits | {"max_response_mb": max_response_mb})
    enrow_api_key = checked_is_set(enrow_api_key)
    delete_half_normalized(active_pipeline())
    client = EnrowClient(enrow_api_key, enrow_base_url, connections=connections, max_response_mb=max_response_mb)
    configured = configured_resources(batch_ids_file, batch_ids_query, batch_ids_cursor, batch_ids_database)
    input_ids = no_batch_ids(batch_ids) if pending_only else read_batch_ids(batch_ids, *configured)
    privacy = Privacy(parse_pii(pii), pii_secret)
    options = Options(
        max_batches=max_batches,
        retry_failed=retry_failed,
        refetch=refetch,
        shard=Shard.parse(shard),
        stuck_after_h=stuck_after_h,
        warn_after_h=warn_after_h,
        deadline_s=deadline_s,
        max_consecutive_failures=max_consecutive_failures,
        give_up_fetches=give_up_fetches,
        give_up_days=give_up_days,
        suppressions=suppressions,
        stop=stop,
        progress=progress,
    )

    @dlt.resource(name="fetched", selected=False)
    def fetched() -> Iterator[Chunk]:
        yield from extract(input_ids, client, privacy, options)

    @dlt.transformer(data_from=fetched)
    def batches(chunk: Chunk) -> Iterator[pa.Table]:
        """One row for a batch that the API knows."""
        yield from rows_of(chunk, chunk.batches, batches_table)
        yield from summary_of(chunk, BATCHES)

    @dlt.transformer(data_from=fetched)
    def batch_stats(chunk: Chunk) -> Iterator[pa.Table]:
        """One row for a batch: what the API claims, and what arrived."""
        yield from rows_of(chunk, chunk.batches, batch_stats_table)
        yield from summary_of(chunk, BATCH_STATS)

    @dlt.transformer(data_from=fetched)
    def phone_results(chunk: Chunk) -> Iterator[pa.Table | DataItemWithMeta]:
        """One row for a search in a completed batch, and in its ledger one for each batch."""
        yield from results_of(chunk)
        for rows in rows_of(chunk, chunk.batches, phone_results_ledger_table):
            appends = chunk.context.appends_ledger
            yield route_to_table(rows, PHONE_RESULTS_LEDGER, PHONE_RESULTS.name, appends=appends)
        yield from summary_of(chunk, PHONE_RESULTS)

    @dlt.transformer(data_from=fetched)
    def batch_errors(chunk: Chunk) -> Iterator[pa.Table]:
        """One row for a fetch that failed."""
        yield from rows_of(chunk, chunk.errors, batch_errors_table)
        yield from summary_of(chunk, BATCH_ERRORS)

    return declare_tables((batches, batch_stats, phone_results, batch_errors), contract_hints(schema_contract))


def option_names() -> list[str]:
    """Return the names of the arguments of the source."""
    return [name for name in inspect.signature(enrow_source).parameters if name != "unknown_options"]
