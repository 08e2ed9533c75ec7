"""One extraction, step by step: session, ids, ledger, plan, fetch, replace, chunks, summary."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from . import warn
from .api.client import EnrowClient
from .destination.append import append_new_batches, are_loaded, merge_as_declared
from .destination.delta import use_delta_tables_on_filesystem
from .destination.guard import Beginning, LoadGuard
from .destination.ledger import LedgerSnapshot, read_ledger
from .destination.orphans import remove_orphans
from .destination.repair import detach
from .destination.replace import delete_superseded_results
from .destination.seen_before import requested_before
from .destination.session import DUCKDB, Session, is_loading, source_state
from .destination.suppressions import Suppressions, read_suppressions, refuse_erased_since
from .destination.unchanged import UnchangedBatches
from .errors import ConfigurationError
from .fetch.batches import fetch_batches
from .fetch.counts import RunCounts
from .fetch.results import Chunk, Seen
from .fetch.stop import StopCondition, StopReason
from .ids.cursor import Cursors, save_cursors
from .ids.input import BatchIdInput, BatchIdsRead
from .options import Options
from .plan import GiveUp, Plan, plan_batches
from .resource_checks import check_keys, check_steps
from .settings import DUCKDB_FILE_ROWS, RESULTS_FILE_ROWS, UNDECLARED_COLUMNS
from .submissions.accepted import AcceptedSubmissions, accepted_batch_ids
from .tables.privacy import Pii, Privacy
from .tables.results_file import ResultsWriter, remove_left
from .tables.rows import RowContext
from .tables.schema import LEDGER_TABLES, PHONE_RESULTS, PHONE_RESULTS_LEDGER, TABLES
from .tables.undocumented_columns import DISCARD_ROW, DISCARD_VALUE, ColumnNames, NameRules


def extract(batch_ids: BatchIdInput, client: EnrowClient, privacy: Privacy, options: Options) -> Iterator[Chunk]:
    """Read the ids, ask the ledger which of them are due, and fetch those.

    Raises:
        ConfigurationError: Something to fix in the settings; before the first request.
        RunError: No batch can be read.
    """
    session = Session.current()
    guard = LoadGuard.of(session.pipeline) if session.pipeline is not None else None
    has_given_up = guard is not None and guard.begin(session)
    _check_resources(session)
    cursors = Cursors(session, batch_ids.resources, str(options.shard)).reset_stale(
        is_full_refresh=has_given_up or not _keeps_ledger(session)
    )
    stop = StopCondition(options.stop, options.deadline_s, options.max_consecutive_failures)
    restore_cursors = save_cursors()
    read = batch_ids.read(lambda: stop.reason is not None)
    warn.of_invalid_entries(read)

    ledger, suppressions, submitted = _read_destination(session, read, privacy, options)
    plan = plan_batches(ledger, suppressions.batches, options.shard, options.max_batches, read.given)
    stop.expect_failures(plan.failed)

    is_unread = stop.reason is not None and bool(plan.fetch or batch_ids.resources)
    if is_unread:
        # Before the first fetch: the next run reads the same ids, so that they need not be stored.
        restore_cursors()
        read, plan = BatchIdsRead((), (), frozenset(), read.invalid, read.skipped_events), Plan((), (), {})

    appended = append_new_batches(session, ledger, plan.fetch, plan.with_results)
    context = _row_context(session, privacy, suppressions, plan, appended)
    unchanged = UnchangedBatches(session, ledger.entries)
    if ledger.gone or has_given_up or _lacks_tables(session):
        yield Chunk(context, creates_tables=True)

    seen, accepted, superseded = Seen(), AcceptedSubmissions(), list[str]()
    with client, _results_writer(session, is_needed=bool(plan.fetch)) as writer:
        for chunk in fetch_batches(
            plan.fetch,
            client,
            context,
            with_results=PHONE_RESULTS.name in session.resources,
            stop=stop,
            progress=options.progress,
        ):
            superseded += _superseded(session, chunk, plan.with_results)
            for fetched in chunk.batches:
                accepted.add(fetched.batch)
            seen.add(chunk)
            chunk.batches = unchanged.leave_out(chunk.batches, context)
            if writer is not None:
                chunk.write_results(writer)
            yield chunk
        files = writer.finish() if writer is not None else []

    loaded = seen.answered - unchanged.batch_ids
    if guard is not None:
        to_append = appended if seen.results or appended != [PHONE_RESULTS.name] else ()
        guard.end(session, _beginning(session, superseded, to_append, loaded, ledger.erasures), loaded, ledger.erasures)
    _record(session, accepted)
    if not is_unread:
        cursors.tie(wrote_rows=bool(loaded))
    # Later runs could not tell them from loads that were completed long ago.
    detach(session, [i for i, entry in ledger.entries.items() if entry.is_unfinished and i not in seen.answered])
    now, end = datetime.now(UTC), GiveUp(options.give_up_fetches, options.give_up_days)
    deferred = plan.deferred(read.from_resources, submitted, seen.answered, seen.unknown, now, end)
    given_up = plan.given_up(deferred)
    warn.of_given_up(given_up)
    stuck = _warn_of_pending(session, plan, seen, options, now)
    warn.of_columns(context)
    counts = RunCounts.of(
        seen.statuses,
        client.request_stats,
        stuck=stuck,
        invalid_ids=len(read.invalid),
        skipped_events=read.skipped_events,
        given_up=len(given_up),
        submissions_in_doubt=len(accepted.in_doubt),
        incomplete=seen.incomplete,
        stop_reason=stop.reason if is_unread or seen.fetched < len(plan.fetch) else stop.outage,
    )
    if counts.stop_reason is StopReason.API_UNAVAILABLE:
        warn.of_outage(stop.last_failure)
    yield Chunk(context, deferred=deferred, counts=counts, files=files)


def _check_resources(session: Session) -> None:
    """Refuse what a caller has changed of the resources and cannot be loaded; set what the destination needs."""
    check_keys(session)
    check_steps(session)
    use_delta_tables_on_filesystem(session)
    merge_as_declared(session)


def _keeps_ledger(session: Session) -> bool:
    """Whether this load leaves the rows of all ledger tables that it loads."""
    return all(session.keeps_rows(name) for name in LEDGER_TABLES if name in session.resources)


def _beginning(
    session: Session,
    superseded: Sequence[str],
    appended: Collection[str],
    loaded: Collection[str],
    erasures: Collection[str],
) -> Beginning:
    """Return what the load does when it begins, and not now: another run may load the same batches before."""
    delete = partial(delete_superseded_results, session, superseded) if superseded else None
    is_loaded = partial(are_loaded, session, appended, list(loaded), erasures) if appended and loaded else None
    has_people = loaded and PHONE_RESULTS.name in session.resources
    refuse = partial(refuse_erased_since, session, erasures) if has_people else None
    return Beginning(session.schema.name, delete, is_loaded, refuse)


def _record(session: Session, accepted: AcceptedSubmissions) -> None:
    """Write down which submissions the batches are of."""
    if accepted.batch_ids and session.pipeline is not None and not session.is_filesystem:
        with session.sql_client() as client:
            accepted.record(client)


_PII = "pii"
"""In the state of the source: the option as the last load had it."""


def _warn_of_pending(session: Session, plan: Plan, seen: Seen, options: Options, now: datetime) -> int:
    """Warn of batches that have been pending for too long, or that are lost; return how many are stuck."""
    stuck = plan.stuck(options.stuck_after_h, seen.ended, now)
    warn.of_stuck(stuck, options.stuck_after_h)
    old = plan.stuck(options.warn_after_h, seen.ended, now)
    before = requested_before(session, (seen.unknown | old.keys()) - seen.answered)
    warn.of_expiry(old, before | seen.requested, options.warn_after_h)
    warn.of_lost({batch_id: before[batch_id] for batch_id in sorted(seen.unknown & before.keys())})
    undocumented = plan.undocumented_for_long(seen.undocumented, now)
    warn.of_undocumented(undocumented)
    return len(stuck.keys() | undocumented.keys())


def _named_again(given: Sequence[str], options: Options) -> frozenset[str]:
    """Return the ids that `refetch` fetches again; raises ConfigurationError where it is set, and no id is named."""
    if options.refetch and not given:
        raise ConfigurationError("refetch is set, and no id is named: name the batches that are to be fetched again")
    return frozenset(given) if options.refetch else frozenset()


def _read_destination(
    session: Session, read: BatchIdsRead, privacy: Privacy, options: Options
) -> tuple[LedgerSnapshot, Suppressions, list[str]]:
    """Read the ledger, again where killed loads have left rows that go first, and what was erased and submitted."""
    again = _named_again(read.given, options)
    with session.connection():
        submitted = _submitted_batch_ids(session)
        ids = options.shard.select([*read.ids, *submitted] if submitted else read.ids)
        ledger = read_ledger(session, ids, again, retry_failed=options.retry_failed)
        is_idle = not (ledger.missing or ledger.entries or ledger.begun)
        suppressions = Suppressions() if is_idle else read_suppressions(session, privacy, options.suppressions)
    if ledger.begun:
        # Without a connection: who loads into a file of DuckDB has to open it.
        remove_orphans(session, ledger.begun)
        # Without the erasures since: the suppressions do not have them.
        erasures = ledger.erasures
        ledger = replace(read_ledger(session, ids, again, retry_failed=options.retry_failed), erasures=erasures)
    warn.of_erased(suppressions.batches.intersection(read.given))
    return ledger, suppressions, submitted


def _submitted_batch_ids(session: Session) -> list[str]:
    """Return the batches that `enrow submit` has sent and that the ledger does not know."""
    if session.destination_type is None or session.is_filesystem:
        return []
    names = [name for name in LEDGER_TABLES if name in session.resources]
    is_kept = all(session.keeps_rows(name) and LEDGER_TABLES[name] in session.schema.tables for name in names)
    with session.sql_client() as client:
        return accepted_batch_ids(client, [LEDGER_TABLES[name] for name in names] if is_kept else [])


@contextmanager
def _results_writer(session: Session, *, is_needed: bool) -> Iterator[ResultsWriter | None]:
    """Open what writes `phone_results` to files of our own; None where there are none, or dlt has to see the rows."""
    if session.pipeline is not None:
        remove_left(Path(session.pipeline.working_dir))
    if session.pipeline is None or not is_needed or not session.is_unchanged(PHONE_RESULTS.name):
        yield None
        return
    columns = (
        session.schema.get_table_columns(PHONE_RESULTS.name) if PHONE_RESULTS.name in session.schema.tables else {}
    )
    known = [name for name in columns if name not in PHONE_RESULTS.names and not name.startswith("_dlt")]
    rows_per_file = DUCKDB_FILE_ROWS if session.destination_type == DUCKDB else RESULTS_FILE_ROWS
    writer = ResultsWriter(Path(session.pipeline.working_dir), rows_per_file, known)
    try:
        yield writer
    except BaseException:  # also Ctrl-C: half a file must not stay; raised again
        writer.discard()
        raise


def _row_context(
    session: Session, privacy: Privacy, suppressions: Suppressions, plan: Plan, appended: Collection[str]
) -> RowContext:
    if is_loading():
        if privacy.hides and source_state().get(_PII) == Pii.KEEP:
            warn.of_rows_in_clear()
        source_state()[_PII] = privacy.mode.value
    existing = {name: table["columns"] for name, table in session.schema.tables.items()}
    names = ColumnNames(_name_rules(session), existing, UNDECLARED_COLUMNS, hides_names=privacy.hides)
    is_new = PHONE_RESULTS_LEDGER.name in appended
    return RowContext(session.load_id, names, privacy, suppressions.is_erased, plan.first_seen, appends_ledger=is_new)


def _name_rules(session: Session) -> NameRules:
    schema, contracts = session.schema, {}
    for name, resource in session.resources.items():
        # As dlt does: the first load of a table makes all columns. What it freezes, it refuses itself.
        if name in LEDGER_TABLES and name in schema.tables and not schema.is_new_table(name):
            mode = schema.resolve_contract_settings_for_table(name, resource.compute_table_schema())["columns"]
            if mode in (DISCARD_ROW, DISCARD_VALUE):
                contracts[name] = mode
    naming = schema.naming
    return NameRules(naming.normalize_path, session.is_case_sensitive, naming.max_length, contracts)


def _lacks_tables(session: Session) -> bool:
    selected = {*session.resources, *(LEDGER_TABLES.get(name) for name in session.resources)}
    return any(table.name not in session.schema.tables for table in TABLES if table.name in selected)


def _superseded(session: Session, chunk: Chunk, had_results: Collection[str]) -> list[str]:
    """Return the batches whose rows in `phone_results` this load has to replace and cannot."""
    if PHONE_RESULTS.name not in session.resources:
        return []
    if session.is_filesystem:
        # Rows are appended to Delta tables, and a load that was killed may have left some that no ledger knows of.
        replaced = {f.batch.batch_id for f in chunk.batches}
    else:
        replaced = {f.batch.batch_id for f in chunk.batches if not f.results_loaded and f.batch.batch_id in had_results}
    return sorted(replaced)
