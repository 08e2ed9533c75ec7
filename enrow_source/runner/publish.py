"""Publishing: what the shards of a backfill have in a lake goes to the destination.

A row goes there where its load was completed, where the destination has nothing as new of its batch, and where nobody
has erased the batch or the person. So it can be done again, after an erasure too, and into tables that have rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import dlt
import duckdb
from dlt.extract import DltResource, DltSource
from dlt.extract.items import DataItemWithMeta

from ..destination.load_lock import load_lock
from ..destination.replace import delete_superseded_results
from ..destination.session import FILESYSTEM, Session, running_load_id
from ..destination.sql import utc
from ..destination.suppressions import PERSON_COLUMNS, Suppressions
from ..errors import EnrowError
from ..lazy import pa, pc
from ..settings import SOURCE_NAME
from ..tables.schema import BATCH_ERRORS, BATCH_STATS, BATCHES, PHONE_RESULTS, PHONE_RESULTS_LEDGER, TABLES, Table

PUBLISHED_ROWS: Final = 100_000
"""Rows held at a time while publishing."""

_HASH: Final = "^[0-9a-f]{64}$"

_COMPLETED: Final = "JOIN loads l ON l.load_id = t._dlt_load_id AND l.status = 0"

_NEWEST: Final = (
    f"SELECT t.* FROM lake t {_COMPLETED} LEFT JOIN known k ON k.batch_id = t.batch_id"  # noqa: S608 - constants
    " WHERE (k.batch_id IS NULL OR k.fetched_at < t.fetched_at) AND t.batch_id NOT IN (SELECT batch_id FROM erased)"
    " QUALIFY row_number() OVER (PARTITION BY t.batch_id ORDER BY t.fetched_at DESC) = 1"
)
"""One row for a batch. A worker that was killed half-way leaves rows of a load that never ended."""

_BATCHES: Final = _NEWEST.replace("t.*", "t.* REPLACE (least(t.first_seen_at, k.first_seen_at) AS first_seen_at)", 1)

_ERRORS: Final = f"SELECT t.* FROM lake t {_COMPLETED} WHERE t.batch_id NOT IN (SELECT batch_id FROM erased)"  # noqa: S608

_RESULTS: Final = "SELECT t.* FROM lake t JOIN newest n ON n.batch_id = t.batch_id AND n._dlt_load_id = t._dlt_load_id"


class PublishError(EnrowError):
    """What the lake holds cannot be published as it is."""


Lake = Mapping[str, Any]
"""The tables of a shard by name: datasets of Arrow, and the record of its loads."""


def create_tables(pipeline: dlt.Pipeline) -> None:
    """Create the tables of the source at the destination, where they are missing, while nobody loads."""
    with load_lock(pipeline):
        pipeline.run(_source(pipeline, [(table, [table.arrow.empty_table()]) for table in TABLES]))


def publish(shards: Iterable[dlt.Pipeline], target: dlt.Pipeline, suppressions: Suppressions) -> dict[str, int]:
    """Load what the shards have in the lake into the target, without what was erased there; return the rows by table.

    Raises:
        PipelineStepFailed: The load failed; or, as `PublishError` behind it, people were erased after the lake was
            loaded, and it has only hashes, which do not identify them.
    """
    # Before the run: dlt cannot do it inside another pipeline's.
    lakes = [_open(shard) for shard in shards]
    erased = pa.table({"batch_id": pa.array(sorted(suppressions.batches), pa.string())})
    known = {table.name: _known(target, table) for table in (BATCHES, BATCH_STATS, PHONE_RESULTS_LEDGER)}
    known_results = known[PHONE_RESULTS_LEDGER.name]

    def rows(table: Table, statement: str) -> Iterator[pa.Table]:
        for lake in lakes:
            tables = {"loads": lake["loads"], "known": known.get(table.name), "erased": erased}
            for part in _select(statement, lake.get(table.name), tables):
                yield _stamped(part, table)

    def results() -> Iterator[pa.Table | DataItemWithMeta]:
        for lake in lakes:
            tables = {"loads": lake["loads"], "known": known_results, "erased": erased}
            newest = list(_select(_NEWEST, lake.get(PHONE_RESULTS_LEDGER.name), tables))
            if not newest:
                continue
            ledger, removed = pa.concat_tables(newest), Counter[str]()
            for part in _select(_RESULTS, lake.get(PHONE_RESULTS.name), {"newest": ledger}):
                kept = _without_erased(part, suppressions, removed)
                yield _stamped(kept, PHONE_RESULTS)
            ledger = _corrected(ledger, removed)
            _delete_superseded(target, ledger, known_results)
            hints = dlt.mark.make_hints(PHONE_RESULTS_LEDGER.name, write_disposition="merge")
            yield dlt.mark.with_hints(_stamped(ledger, PHONE_RESULTS_LEDGER), hints, create_table_variant=True)

    tables = [
        (BATCHES, rows(BATCHES, _BATCHES)),
        (BATCH_STATS, rows(BATCH_STATS, _NEWEST)),
        (PHONE_RESULTS, results()),
        (BATCH_ERRORS, rows(BATCH_ERRORS, _ERRORS)),
    ]
    target.run(_source(target, tables))
    trace = target.last_trace
    counts = trace.last_normalize_info.row_counts if trace and trace.last_normalize_info else {}
    return {name: counts[name] for name in sorted(table.name for table in TABLES) if counts.get(name)}


def _source(pipeline: dlt.Pipeline, rows: Sequence[tuple[Table, Any]]) -> DltSource:
    """Make a source of rows, under the schema of the real one, with the hints of its tables."""
    is_filesystem = pipeline.destination.destination_type == FILESYSTEM

    def resource(table: Table, data: Any) -> DltResource:  # noqa: ANN401 - what dlt takes
        made: DltResource = dlt.resource(data, name=table.name)
        if table is PHONE_RESULTS:
            # Before its own columns, which a variant would take over.
            variant = _hints(PHONE_RESULTS_LEDGER, is_filesystem=is_filesystem)
            made.apply_hints(table_name=PHONE_RESULTS_LEDGER.name, create_table_variant=True, **variant)
        return made.apply_hints(**_hints(table, is_filesystem=is_filesystem))

    @dlt.source(name=SOURCE_NAME, section=SOURCE_NAME)
    def tables() -> list[DltResource]:
        return [resource(table, data) for table, data in rows]

    return tables()


def _hints(table: Table, *, is_filesystem: bool) -> dict[str, Any]:
    """Return the hints of a table, for files those of Delta tables: as the source does when it loads."""
    hints = table.hints
    if is_filesystem:
        hints["table_format"] = "delta"
        if table is PHONE_RESULTS:
            hints |= {"write_disposition": "append", "merge_key": ""}
    return hints


def _open(shard: dlt.Pipeline) -> Lake:
    """Open the tables of a shard, and the record of its loads; no rows are read yet."""
    from dlt.common.libs.deltalake import get_delta_tables  # noqa: PLC0415 - of an extra

    shard.sync_destination()
    tables = {name: table.to_pyarrow_dataset() for name, table in get_delta_tables(shard).items()}
    with shard.sql_client() as client:
        loads = client.execute_sql("SELECT load_id, status FROM _dlt_loads") or ()
    return tables | {"loads": pa.table(dict(zip(("load_id", "status"), zip(*loads, strict=True), strict=True)))}


def _known(target: dlt.Pipeline, table: Table) -> pa.Table:
    """Return what the destination has of each batch: when it was fetched, and when a run first knew of it.

    A batch counts for nothing where its rows in `phone_results` are gone, as after a `DROP TABLE`.
    """
    with target.sql_client() as client:
        column, name = client.escape_column_name, client.make_qualified_table_name
        seen = column("first_seen_at" if "first_seen_at" in table.names else "fetched_at")
        sql = (
            f"SELECT t.{column('batch_id')}, t.{column('fetched_at')}, t.{seen} FROM {name(table.name)} t"  # noqa: S608
            f" JOIN {name(target.default_schema.loads_table_name)} l ON l.{column('load_id')} ="
            f" t.{column('_dlt_load_id')} AND l.{column('status')} = 0"
        )
        if table is PHONE_RESULTS_LEDGER:
            sql += (
                f" WHERE t.{column('results_loaded')} = 0 OR EXISTS (SELECT 1 FROM {name(PHONE_RESULTS.name)} r"  # noqa: S608
                f" WHERE r.{column('batch_id')} = t.{column('batch_id')})"
            )
        rows = client.execute_sql(sql) or ()
    at = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "batch_id": pa.array([row[0] for row in rows], pa.string()),
            "fetched_at": pa.array([utc(row[1]) for row in rows], at),
            "first_seen_at": pa.array([utc(row[2]) for row in rows], at),
        }
    )


def _select(statement: str, lake: Any, tables: Mapping[str, pa.Table | None]) -> Iterator[pa.Table]:  # noqa: ANN401 - pyarrow has no types
    """Run a statement over a table of the lake, and yield what it returns in parts; nothing where there is no table."""
    if lake is None:
        return
    with duckdb.connect() as connection:
        # A reader and no dataset: DuckDB pushes its filters down into a dataset, whose strings may be of a type that
        # Arrow cannot compare with others.
        connection.register("lake", lake.scanner().to_reader())
        for name, table in tables.items():
            if table is not None:
                connection.register(name, table)
        for batch in connection.execute(statement).to_arrow_reader(PUBLISHED_ROWS):
            yield pa.Table.from_batches([batch])


def _stamped(rows: pa.Table, table: Table) -> pa.Table:
    """Return the rows as of this load: the ledger searches for it among the completed ones."""
    required = {column.name for column in table.columns if not column.nullable}
    place = rows.schema.get_field_index("_dlt_load_id")
    stamped = rows.set_column(place, "_dlt_load_id", pa.repeat(running_load_id(), len(rows)))
    return stamped.cast(pa.schema([field.with_nullable(field.name not in required) for field in stamped.schema]))


def _without_erased(rows: pa.Table, suppressions: Suppressions, removed: Counter[str]) -> pa.Table:
    """Leave out and count the rows of erased people; raises PublishError where hashes hide whose they are."""
    if suppressions.is_erased is None:
        return rows
    columns = {name: rows.column(name).combine_chunks() for name in PERSON_COLUMNS.values()}
    older = pc.less(rows.column("fetched_at"), pa.scalar(suppressions.last_erased_at, pa.timestamp("us", tz="UTC")))
    for column in columns.values():
        hashed = pc.fill_null(pc.match_substring_regex(column, _HASH), fill_value=False)
        if pc.any(pc.and_(hashed, older.combine_chunks())).as_py():
            raise PublishError(
                "people were erased after this lake was loaded, and its hashed values do not show whose they are:"
                " name another --lake, and delete this one"
            )
    is_erased = suppressions.is_erased(columns)
    removed.update(rows.column("batch_id").filter(is_erased).to_pylist())
    return rows.filter(pc.invert(is_erased))


def _corrected(ledger: pa.Table, removed: Mapping[str, int]) -> pa.Table:
    """Keep `results_loaded` the number of rows that go to `phone_results`."""
    if not removed:
        return ledger
    loaded = ledger.select(["batch_id", "results_loaded"]).to_pylist()
    counts = [row["results_loaded"] - removed.get(row["batch_id"], 0) for row in loaded]
    place = ledger.schema.get_field_index("results_loaded")
    return ledger.set_column(place, "results_loaded", pa.array(counts, pa.int64()))


def _delete_superseded(target: dlt.Pipeline, ledger: pa.Table, known: pa.Table) -> None:
    """Delete what the load itself does not replace, as the source does when it loads."""
    session = Session(target.default_schema, {}, running_load_id(), pipeline=target)
    if session.is_filesystem:
        batch_ids = ledger.column("batch_id").to_pylist()
    else:
        empty = ledger.filter(pc.equal(ledger.column("results_loaded"), 0)).column("batch_id")
        batch_ids = empty.filter(pc.is_in(empty, known.column("batch_id").combine_chunks())).to_pylist()
    delete_superseded_results(session, batch_ids)
