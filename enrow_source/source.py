"""The source: batch ids -> looks at the API -> `batches`, `batch_stats`, `phone_results`, `batch_errors`.

API: `GET https://api.enrow.io/phone/bulk?id={batch_id}`, https://enrow.readme.io
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from threading import Event
from typing import Any, Final, TypeVar, cast

import dlt
from dlt.common import logger
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from . import tables
from .arrow import pa
from .batch_ids import BatchIds, Candidates, Shard, read_batch_ids
from .client import EnrowClient
from .erasure import Erasures, read_erasures
from .errors import ConfigurationError, UnknownOptionError
from .id_sources import begin_anew_where_it_does_not_fit, configured_resources
from .ledger import Noted, due_batches, is_emptied, read_ledger
from .looks import Chunk, Ending, LooksSoFar, look_at_batches
from .models import BatchStatus
from .privacy import Pii, Privacy
from .removal import remove_results
from .settings import (
    BASE_URL,
    CONNECTIONS,
    CONNECTIONS_LIMIT,
    DAMAGED_TOLD,
    GIVE_UP_AFTER,
    MAX_RESPONSE_MB,
    SOURCE_NAME,
    UNDECLARED_COLUMNS,
)
from .tables import (
    BATCH_ERRORS,
    BATCH_STATS,
    BATCHES,
    DEFERRED_BATCH_IDS,
    PHONE_RESULTS,
    PHONE_RESULTS_LEDGER,
    TABLES,
    Table,
)

Item = TypeVar("Item")

_EVIDENCE: Final = {
    BATCHES.name: BATCHES.name,
    BATCH_STATS.name: BATCH_STATS.name,
    PHONE_RESULTS.name: PHONE_RESULTS_LEDGER.name,
}
"""Each resource, and the table that has a row for every batch it has loaded."""


@dlt.source(name=SOURCE_NAME, section=SOURCE_NAME)
def enrow_source(  # noqa: PLR0913, PLR0917 - a source's arguments are its options
    batch_ids: BatchIds = (),
    enrow_api_key: TSecretStrValue | None = None,
    enrow_base_url: str = BASE_URL,
    max_batches: int | None = None,
    retry_failed: bool = False,  # noqa: FBT001, FBT002 - dlt reads it from the configuration by its name
    connections: int = CONNECTIONS,
    deadline_s: float | None = None,
    give_up_after: int = GIVE_UP_AFTER,
    max_response_mb: float = MAX_RESPONSE_MB,
    pii: str = Pii.KEEP.value,
    pii_secret: TSecretStrValue | None = None,
    shard: str | None = None,
    batch_ids_file: str | Sequence[str] | None = None,
    batch_ids_query: str | None = None,
    batch_ids_cursor: str | None = None,
    batch_ids_database: TSecretStrValue | None = None,
    stuck_after_h: float | None = None,
    stop: Event | None = None,
    progress: Callable[[LooksSoFar], None] | None = None,
    **unknown_options: Any,  # noqa: ANN401 - named in an error, whatever it is
) -> Sequence[DltResource]:
    """Load bulk phone searches by their batch ids, incrementally: what the destination holds is not fetched again.

    Every option can also stand in `.dlt/config.toml` under `[sources.enrow]`, or in the environment as
    `SOURCES__ENROW__<OPTION>`.

    Args:
        batch_ids: Ids as `POST /phone/bulk` returned them: an iterable of strings, or a dlt resource that yields
            strings, or dicts with an `id` or a `batch_id`; or several of both. They are trimmed, each is used once,
            the order is kept. `batch_ids_from_files` and `batch_ids_from_query` make such resources.
        enrow_api_key: The key of the account; by default from `.dlt/secrets.toml` or `ENROW_API_KEY`.
        enrow_base_url: Scheme and host of the API; https, or http on a loopback address.
        max_batches: Most batches to look at in one run; batches never seen go first. None for no limit.
        retry_failed: Whether batches that the API reports as `failed` are looked at again.
        connections: Batches fetched at the same time, 1 to 256.
        deadline_s: Seconds after which no new batches are looked at; what is there is loaded. None for no limit.
        give_up_after: Batches in a row that the API does not answer for, after which the run ends as by a deadline.
        max_response_mb: The most that one answer may have; a larger one is a row of `batch_errors`.
        pii: What becomes of phone numbers, `params` and `custom`: `keep` them, `hash` them with `pii_secret` (equal
            values stay equal), or `drop` them. Nothing of them is written in clear then, not even for a while.
        pii_secret: Keys the hashes; from `.dlt/secrets.toml`. Another secret gives other hashes.
        shard: `3/8` looks at the third of eight parts of the ids alone: for several workers at a time.
        batch_ids_file: Paths, globs or bucket URLs of files to read ids from, besides `batch_ids`.
        batch_ids_query: A SELECT to read ids from as well, at `batch_ids_database`, else at the destination.
        batch_ids_cursor: A column of the query that grows: rows below its highest value are not read again.
        batch_ids_database: SQLAlchemy URL of the database of the query, from `.dlt/secrets.toml`.
        stuck_after_h: Hours after which a batch that is still pending is told as stuck. None for never.
        stop: Ends the run as a deadline does, when it is set: for a signal handler.
        progress: Called for each look with how far the run is, in the thread of the run; what it raises ends the run.
        unknown_options: Anything else is an error that names the option that was meant.

    Returns:
        The resources `batches`, `batch_stats`, `phone_results` and `batch_errors`; `with_resources` selects some.
        One batch is one GET, whatever is selected.

    Raises:
        ConfigurationError: Something to fix in the arguments or the settings; before the first request.
    """
    limits = {"max_batches": max_batches, "connections": connections, "deadline_s": deadline_s}
    limits |= {"stuck_after_h": stuck_after_h}
    _check_options(unknown_options, limits | {"give_up_after": give_up_after, "max_response_mb": max_response_mb})
    if enrow_api_key is None:
        raise ConfigurationError(
            "no Enrow API key: set enrow_api_key under [sources.enrow] in .dlt/secrets.toml,"
            " or ENROW_API_KEY in the environment"
        )
    client = EnrowClient(enrow_api_key, enrow_base_url, connections=connections, max_response_mb=max_response_mb)
    configured = configured_resources(batch_ids_file, batch_ids_query, batch_ids_cursor, batch_ids_database)
    candidates = read_batch_ids(batch_ids, *configured)
    privacy = Privacy(_chosen(pii), pii_secret)
    options = _Options(max_batches, retry_failed, Shard.parse(shard), stuck_after_h, progress)

    @dlt.resource(name="looks", selected=False)
    def looks() -> Iterator[Chunk]:
        yield from _looks(candidates, client, privacy, options, lambda: Ending(stop, deadline_s, give_up_after))

    @dlt.transformer(data_from=looks)
    def batches(chunk: Chunk) -> Iterator[pa.Table]:
        """One row for a batch that the API knows."""
        _count(chunk)
        yield from _rows(chunk, chunk.seen, tables.batches_table)
        yield from _deferred(chunk, BATCHES)

    @dlt.transformer(data_from=looks)
    def batch_stats(chunk: Chunk) -> Iterator[pa.Table]:
        """One row for a batch: what the API claims, and what arrived."""
        _count(chunk)
        yield from _rows(chunk, chunk.seen, tables.batch_stats_table)
        yield from _deferred(chunk, BATCH_STATS)

    @dlt.transformer(data_from=looks)
    def phone_results(chunk: Chunk) -> Iterator[pa.Table | DataItemWithMeta]:
        """One row for a search in a batch that has ended, and in its ledger one for each batch."""
        _count(chunk)
        yield from _rows(chunk, chunk.results, lambda results, _: tables.joined(results))
        ledger_table = partial(tables.phone_results_ledger_table, erased=chunk.erased)
        for rows in _rows(chunk, chunk.seen, ledger_table):
            yield _variant(rows, PHONE_RESULTS_LEDGER, PHONE_RESULTS.name)
        yield from _deferred(chunk, PHONE_RESULTS)

    @dlt.transformer(data_from=looks)
    def batch_errors(chunk: Chunk) -> Iterator[pa.Table]:
        """One row for a look at a batch that failed."""
        _count(chunk)
        yield from _rows(chunk, chunk.errors, tables.batch_errors_table)

    # Before their own columns, which a variant would take over.
    for resource, table in (
        (phone_results, PHONE_RESULTS_LEDGER),
        *((resource, DEFERRED_BATCH_IDS) for resource in (batches, batch_stats, phone_results)),
    ):
        resource.apply_hints(table_name=table.name, create_table_variant=True, **_hints(table))
    return (
        batches.apply_hints(**_hints(BATCHES)),
        batch_stats.apply_hints(**_hints(BATCH_STATS)),
        phone_results.apply_hints(**_hints(PHONE_RESULTS)),
        batch_errors.apply_hints(**_hints(BATCH_ERRORS)),
    )


@dataclass(frozen=True, slots=True)
class _Options:
    max_batches: int | None
    retry_failed: bool
    part: Shard
    stuck_after_h: float | None
    progress: Callable[[LooksSoFar], None] | None


def _looks(
    candidates: Candidates, client: EnrowClient, privacy: Privacy, options: _Options, ending: Callable[[], Ending]
) -> Iterator[Chunk]:
    """Read the ids, ask the ledger which of them are due, and look at those."""
    selected = dlt.current.source().resources.selected
    evidence = {name: table for name, table in _EVIDENCE.items() if name in selected}
    begin_anew_where_it_does_not_fit(candidates.resources, evidence, str(options.part), is_emptied=is_emptied(evidence))
    reading = candidates.read()
    _warn_of_damage(reading.damaged)
    ids = options.part.of_ids(reading.ids)
    log = BATCH_ERRORS.name if options.max_batches is not None else None
    is_delta, noted = _fit_tables_to_destination(), Noted()
    due = due_batches(ids, noted.noting(read_ledger(evidence, log, ids, retry_failed=options.retry_failed)))
    erasures = read_erasures(privacy) if due else Erasures()
    due = [i for i in options.part.of_ids(due) if i not in erasures.batches]
    stamp = _stamp(privacy, erasures, noted.first_seen)
    created = dlt.current.source_schema().tables
    if any(table.name not in created for table in TABLES if table.name in {*selected, *evidence.values()}):
        yield Chunk(stamp, creates_tables=True)
    answered: set[str] = set()
    wanted, with_results = due[: options.max_batches], PHONE_RESULTS.name in selected
    with client:
        chunks = look_at_batches(
            wanted, client, stamp, with_results=with_results, ending=ending(), progress=options.progress
        )
        for chunk in _removing_replaced(chunks, noted.with_results, is_delta=is_delta):
            answered.update(batch.batch_id for batch, _ in chunk.seen)
            noted.pending -= {batch.batch_id for batch, _ in chunk.seen if BatchStatus.of(batch.status).is_terminal}
            yield chunk
    # The cursors of the resources have moved past these.
    left = [i for i in due if i in reading.of_resources and i not in answered and i not in noted.pending]
    stuck = noted.older_than(options.stuck_after_h, due)
    _warn_of_stuck(stuck, options.stuck_after_h)
    damaged_ids = len(reading.damaged)
    yield Chunk(stamp, deferred=left, stuck=len(stuck), damaged_ids=damaged_ids, traffic=client.traffic)
    _warn_of_overflow(stamp)


def _hints(table: Table) -> dict[str, Any]:
    """Declare the table to dlt; `phone_results` is replaced a whole batch at a time, so that one can shrink."""
    return {
        "write_disposition": "merge",
        "merge_key" if table.replaces_batches else "primary_key": table.key,
        "columns": {column.name: column.hints for column in table.columns},
        "additional_table_hints": {"description": table.description, **table.layout},
    }


def _fit_tables_to_destination() -> bool:
    """Make Delta tables of all that is loaded into files; tell whether they are.

    Parquet files alone can only grow: a batch that is looked at twice would be there twice.
    """
    try:
        dlt.current.load_package_state()
    except CurrentLoadPackageStateNotAvailable:
        return False  # iterated outside a pipeline
    if dlt.current.pipeline().destination.destination_type != _FILESYSTEM:
        return False
    for name, resource in dlt.current.source().resources.selected.items():
        table_format = resource.compute_table_schema().get("table_format")
        if table_format not in (None, "delta"):
            raise ConfigurationError(f"table_format of {name} is {table_format!r}: leave it out, for delta")
        resource.apply_hints(table_format="delta")
        # dlt knows no merge by batch for Delta tables: what a batch had before is removed, and what it has is appended.
        if name == PHONE_RESULTS.name and resource.write_disposition == "merge":
            resource.apply_hints(write_disposition="append", merge_key="")
    return True


_FILESYSTEM: Final = "dlt.destinations.filesystem"


def _removing_replaced(chunks: Iterable[Chunk], had_results: Collection[str], *, is_delta: bool) -> Iterator[Chunk]:
    """Pass the chunks on, and remove what the load itself cannot replace of what their batches had."""
    for chunk in chunks:
        # Rows are appended to Delta tables, and a load that was killed may have left some that no ledger knows of.
        replaced = {
            batch_id
            for batch_id, rows in chunk.rows_of_seen()
            if (is_delta and rows) or (batch_id in had_results and (is_delta or not rows))
        }
        remove_results(sorted(replaced), PHONE_RESULTS.name, PHONE_RESULTS_LEDGER.name, is_delta=is_delta)
        yield chunk


def _chosen(pii: str) -> Pii:
    if pii not in list(Pii):
        raise ConfigurationError(f"pii is {pii!r}: set it to {', '.join(Pii)}")
    return Pii(pii)


def _stamp(privacy: Privacy, erasures: Erasures, first_seen: Mapping[str, datetime]) -> tables.Stamp:
    schema = dlt.current.source_schema()
    existing = {name: table["columns"] for name, table in schema.tables.items()}
    try:
        package = dlt.current.load_package_state()
    except CurrentLoadPackageStateNotAvailable:
        load_id = ""  # iterated outside a pipeline: nothing is loaded
    else:
        load_id, state = package["load_id"], cast("dict[str, Any]", package["state"])
        if state.get(_IN_PACKAGE):
            raise ConfigurationError(
                "two Enrow sources in one run would load a batch twice: give all ids to one enrow_source"
            )
        state[_IN_PACKAGE] = True
    names = tables.ColumnNames(schema.naming.normalize_path, existing, UNDECLARED_COLUMNS)
    return tables.Stamp(load_id, names, privacy, erasures.is_erased, first_seen)


_IN_PACKAGE: Final = "enrow_source"
"""Marks a load package that has the rows of a source: a second one cannot know what the first has fetched."""


def _rows(
    chunk: Chunk, of: Sequence[Item], make: Callable[[Sequence[Item], tables.Stamp], pa.Table]
) -> Iterator[pa.Table]:
    """Make rows where there is something to make them of, or where the table is to be created."""
    if of or chunk.creates_tables:
        yield make(of, chunk.stamp)


def _deferred(chunk: Chunk, table: Table) -> Iterator[DataItemWithMeta]:
    """Yield the ids for later runs with the rows of the first table that is selected."""
    first = next((name for name in _EVIDENCE if name in dlt.current.source().resources.selected), None)
    if chunk.deferred and table.name == first:
        rows = tables.deferred_batch_ids_table(chunk.deferred, datetime.now(UTC), chunk.stamp)
        yield _variant(rows, DEFERRED_BATCH_IDS, table.name)


def _variant(rows: pa.Table, table: Table, of_resource: str) -> DataItemWithMeta:
    """Mark rows of another table of a resource; what the caller changed of the resource holds for both."""
    resource = dlt.current.source().resources[of_resource]
    hints = dlt.mark.make_hints(
        table.name,
        write_disposition="replace" if resource.write_disposition == "replace" else "merge",
        table_format=resource.compute_table_schema().get("table_format"),
        file_format=resource.compute_table_schema().get("file_format"),
    )
    return dlt.mark.with_hints(rows, hints, create_table_variant=True)


def _count(chunk: Chunk) -> None:
    """Count the looks in the metrics of each resource: dlt keeps only those of selected ones."""
    metrics = dlt.current.resource_metrics()
    outcomes = [BatchStatus.of(batch.status).value for batch, _ in chunk.seen] + ["errors"] * len(chunk.errors)
    for outcome in outcomes:
        metrics[outcome] = metrics.get(outcome, 0) + 1
    if chunk.traffic is not None:
        metrics |= {"stuck": chunk.stuck, "damaged_ids": chunk.damaged_ids, "requests": chunk.traffic.requests}
        metrics |= {"retries": chunk.traffic.retries, "bytes_received": chunk.traffic.bytes_received}
    if chunk.ended is not None:
        metrics["ended"] = chunk.ended.value


def _warn_of_stuck(stuck: Mapping[str, datetime], hours: float | None) -> None:
    if stuck:
        told = ", ".join(f"{batch_id!r:.80} since {stuck[batch_id]:%Y-%m-%d %H:%M}" for batch_id in sorted(stuck)[:5])
        logger.warning(f"{len(stuck)} batches have been pending for more than {hours:g} hours: {told}")


def _warn_of_damage(damaged: Sequence[str]) -> None:
    for message in damaged[:DAMAGED_TOLD]:
        logger.warning(f"left out of the batch ids: {message}")
    if len(damaged) > DAMAGED_TOLD:
        logger.warning(f"left out of the batch ids: {len(damaged) - DAMAGED_TOLD} more")


def _warn_of_overflow(stamp: tables.Stamp) -> None:
    for table in sorted({table for table, _ in stamp.names.overflowed}):
        keys = sorted(key[:40] for name, key in stamp.names.overflowed if name == table)
        logger.warning(
            f"{len(keys)} undocumented fields for {table} got no column of their own, and are in its JSON column"
            f" overflow or params__overflow: {', '.join(map(repr, keys[:5]))}..."
        )


def _check_options(unknown: dict[str, Any], limits: Mapping[str, Any]) -> None:
    known = [name for name in inspect.signature(enrow_source).parameters if name != "unknown_options"]
    prefix = f"SOURCES__{SOURCE_NAME.upper()}__"
    configured: dict[str, Any] = {
        name.removeprefix(prefix).lower(): "" for name in os.environ if name.startswith(prefix)
    }
    for provider in dlt.config.config_providers:
        section, _ = provider.get_value(SOURCE_NAME, dict, "", "sources")
        configured |= section if isinstance(section, dict) else {}
    # A nested section may configure a resource, or what dlt itself reads there.
    typed = [name for name, value in configured.items() if not isinstance(value, dict) and "__" not in name]
    for name in [*unknown, *typed]:
        if name not in (*known, *_DLT_OPTIONS):
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"the options are {', '.join(known)}"
            where = "" if name in unknown else f" under [sources.{SOURCE_NAME}]"
            raise UnknownOptionError(f"enrow_source has no option {name!r}{where}: {hint}")
    for name, limit in limits.items():
        if limit is not None and not (isinstance(limit, int | float) and limit > 0):
            raise ConfigurationError(f"{name} is {limit!r}: set it to more than 0, or leave it out")
    if (limits["connections"] or 0) > CONNECTIONS_LIMIT:
        raise ConfigurationError(f"connections is {limits['connections']}: set it to 1 to {CONNECTIONS_LIMIT}")


_DLT_OPTIONS: Final = ("max_table_nesting", "root_key", "schema_contract")
"""Settings of any dlt source, which dlt reads from the same section."""
