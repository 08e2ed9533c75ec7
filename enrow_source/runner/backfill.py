"""Load very many batches on a Dask cluster: `enrow backfill --batch-ids-file ids.txt --lake backfill`.

Each worker loads shards of the ids, one at a time: into a lake (Delta tables in a folder or bucket) that one step
publishes to the destination at the end, or straight into a warehouse that takes several writers. Run the same command
again after any end: what is loaded is not fetched again. Workers take key and credentials from their configuration.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import dlt
import duckdb
import pyarrow as pa
from dask.distributed import Client, Semaphore, as_completed, get_worker
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination import Destination
from dlt.common.libs.deltalake import get_delta_tables
from dlt.common.schema.typing import TTableSchemaColumns
from dlt.pipeline.exceptions import PipelineStepFailed

from ..destination.session import running_load_id
from ..errors import EnrowError
from ..ids.shard import Shard
from ..tables.schema import BATCH_ERRORS, BATCH_STATS, BATCHES, PHONE_RESULTS, PHONE_RESULTS_LEDGER
from .causes import one_line, root_cause
from .pipeline import PIPELINE_NAME, build_pipeline
from .report import RunReport
from .run import run

SHARDS: Final = 64

CONNECTIONS: Final = 16
"""Batches that a worker fetches at the same time."""

PUBLISHED_ROWS: Final = 100_000
"""Rows held at a time while publishing."""

_TRIES: Final = 3

_ONE_SHARD_AT_A_TIME: Final = threading.Lock()
"""For workers with several threads: a shard's memory, and dlt's configuration, are the process's."""

_LATEST: Final = (
    "SELECT t.* FROM {table} t JOIN _dlt_loads l ON l.load_id = t._dlt_load_id AND l.status = 0"
    " QUALIFY row_number() OVER (PARTITION BY t.batch_id ORDER BY t.fetched_at DESC) = 1"
)

_PUBLISHED: Final = {
    BATCHES.name: _LATEST.format(table=BATCHES.name),
    BATCH_STATS.name: _LATEST.format(table=BATCH_STATS.name),
    PHONE_RESULTS.name: f"SELECT t.* FROM {PHONE_RESULTS.name} t"  # noqa: S608 - constants
    f" JOIN ({_LATEST.format(table=PHONE_RESULTS_LEDGER.name)}) k"
    " ON k.batch_id = t.batch_id AND k._dlt_load_id = t._dlt_load_id",
    PHONE_RESULTS_LEDGER.name: _LATEST.format(table=PHONE_RESULTS_LEDGER.name),
    BATCH_ERRORS.name: f"SELECT t.* FROM {BATCH_ERRORS.name} t"  # noqa: S608 - constants
    " JOIN _dlt_loads l ON l.load_id = t._dlt_load_id AND l.status = 0",
}
"""What of a shard's lake is right: a worker that was killed half-way leaves rows of a load that never ended."""


class BackfillError(Exception):
    """The backfill did not end well; what its shards have loaded stays, and the same command goes on from there."""


@dataclass(frozen=True, slots=True)
class Backfill:
    """Where the shards go: `lake` is a folder or the URL of a bucket, None to write straight into `destination`."""

    destination: str
    dataset: str
    lake: str | None
    shards: int = SHARDS
    connections: int = CONNECTIONS

    def target(self, folder: str) -> dlt.Pipeline:
        """Build the pipeline that makes the tables and publishes; it has the name of the scheduled one's."""
        return build_pipeline(self.destination, self.dataset, pipelines_dir=folder)

    def shard_pipeline(self, number: int, folder: str) -> dlt.Pipeline:
        """Build a shard's pipeline: name, working folder and staging dataset (or its part of the lake) of its own."""
        name = f"{PIPELINE_NAME}_{number}_of_{self.shards}"
        if self.lake is not None:
            lake = dlt.destinations.filesystem(self.lake)
            return build_pipeline(lake, f"{self.dataset}_{name}", pipeline_name=name, pipelines_dir=folder)
        # With dlt's default, all would merge through one staging dataset, and take each other's rows.
        own = Destination.from_reference(
            self.destination, destination_name=None, staging_dataset_name_layout=f"%s_staging_{name}"
        )
        return build_pipeline(own, self.dataset, pipeline_name=name, pipelines_dir=folder)


def backfill(plan: Backfill, batch_ids: Iterable[str], client: Client, request_budget: int) -> RunReport:
    """Load the batches on the cluster, and publish them; returns what all shards did together.

    Args:
        plan: Where they go.
        batch_ids: Ids as `POST /phone/bulk` returned them.
        client: A connected cluster; its workers can import this module.
        request_budget: Most requests under way at a time, over all workers.

    Raises:
        BackfillError: A shard failed, or ended early; nothing was published.
    """
    started_at = datetime.now(UTC)
    ids = tuple(dict.fromkeys(batch_ids))
    # A worker that is killed gives its leases back after dask's `lease-timeout`, 30 seconds.
    budget = Semaphore(max(1, request_budget // plan.connections))
    with tempfile.TemporaryDirectory() as folder:
        target = plan.target(folder)
        looks_at_none = threading.Event()
        looks_at_none.set()
        run([], pipeline=target, stop=looks_at_none)  # makes the tables, once
        reports: list[RunReport] = []
        futures = [
            client.submit(load_shard, plan, number, _part(ids, number, plan.shards), budget, pure=False, retries=_TRIES)
            for number in range(1, plan.shards + 1)
        ]
        for done, future in enumerate(as_completed(futures), 1):
            # Not its status: a worker may die with what it has just finished, and then this waits for the next one's.
            if (error := future.exception()) is not None:
                client.cancel(futures)
                raise BackfillError(str(error))
            reports.append(future.result())
            _print_progress(
                f"{done} of {plan.shards} shards done, {sum(r.fetched for r in reports):,} batches looked at"
            )
        rows = publish(plan, target) if plan.lake is not None else _sum(report.rows for report in reports)
    return RunReport(
        completed=sum(report.completed for report in reports),
        ongoing=sum(report.ongoing for report in reports),
        failed=sum(report.failed for report in reports),
        other=sum(report.other for report in reports),
        unreadable=sum(report.unreadable for report in reports),
        rows=rows,
        recovered=0,
        destination=plan.destination,
        dataset=plan.dataset,
        trigger="backfill",
        started_at=started_at,
        ended_at=datetime.now(UTC),
    )


def _part(ids: Sequence[str], number: int, of: int) -> list[str]:
    part = Shard(number, of)
    return [batch_id for batch_id in ids if batch_id in part]


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for table, count in one.items():
            total[table] = total.get(table, 0) + count
    return dict(sorted(total.items()))


def load_shard(plan: Backfill, number: int, batch_ids: list[str], budget: Semaphore) -> RunReport:
    """Load one shard, on a worker, in an empty working folder: what is loaded already, the shard's tables tell.

    Raises:
        BackfillError: It failed, or the API did not answer; dask tries it again.
    """
    shard = f"{number}/{plan.shards}"
    with _ONE_SHARD_AT_A_TIME, budget, tempfile.TemporaryDirectory(dir=get_worker().local_directory) as folder:
        pipeline = plan.shard_pipeline(number, folder)
        try:
            report = run(batch_ids, pipeline=pipeline, shard=shard, connections=plan.connections)
            if plan.lake is None:
                with pipeline.sql_client() as client, client.with_staging_dataset():
                    if client.has_dataset():
                        client.drop_dataset()
        except (PipelineStepFailed, EnrowError, ConfigurationException) as error:
            # What dlt raises holds the pipeline, which cannot be sent to another process.
            raise BackfillError(f"shard {shard}: {one_line(root_cause(error))}") from None
    if report.stop_reason is not None:
        raise BackfillError(f"shard {shard} ended early: {report.stop_reason}")
    return report


def publish(plan: Backfill, target: dlt.Pipeline) -> dict[str, int]:
    """Load what the shards have in the lake into the destination, in one load; returns its rows by table.

    It merges as the scheduled runs do, so it can be done again, and into tables that have rows.
    """
    schema = target.default_schema
    with tempfile.TemporaryDirectory() as folder:
        # Before the run: dlt cannot do it inside another pipeline's.
        shards = [_open(plan.shard_pipeline(number, folder)) for number in range(1, plan.shards + 1)]
        resources = [
            dlt.resource(
                _rows(shards, table, schema.tables[table]["columns"]),
                name=table,
                write_disposition=schema.tables[table].get("write_disposition") or "merge",
            )
            for table in _PUBLISHED
        ]
        target.run(resources, schema=schema)
    trace = target.last_trace
    counts = trace.last_normalize_info.row_counts if trace and trace.last_normalize_info else {}
    return {table: counts[table] for table in sorted(_PUBLISHED) if counts.get(table)}


def _open(shard: dlt.Pipeline) -> dict[str, pa.dataset.Dataset | pa.Table]:
    """Open the tables of a shard's lake, and the record of its loads; no rows are read yet."""
    shard.sync_destination()
    tables = {name: table.to_pyarrow_dataset() for name, table in get_delta_tables(shard).items()}
    with shard.sql_client() as client:
        loads = client.execute_sql("SELECT load_id, status FROM _dlt_loads") or ()
    return tables | {"_dlt_loads": pa.table(dict(zip(("load_id", "status"), zip(*loads, strict=True), strict=True)))}


def _rows(
    shards: Sequence[dict[str, pa.dataset.Dataset | pa.Table]], table: str, columns: TTableSchemaColumns
) -> Iterator[pa.Table]:
    """Yield the rows of all shards, stamped as of this load: the ledger looks for it among the completed ones."""
    load_id = running_load_id()
    required = {name for name, column in columns.items() if not column.get("nullable", True)}
    for shard in (shard for shard in shards if table in shard):
        with duckdb.connect() as connection:
            for name, rows in shard.items():
                connection.register(name, rows)
            for batch in connection.execute(_PUBLISHED[table]).to_arrow_reader(PUBLISHED_ROWS):
                rows = pa.Table.from_batches([batch])
                place = rows.schema.get_field_index("_dlt_load_id")
                stamped = rows.set_column(place, "_dlt_load_id", pa.repeat(load_id, len(rows)))
                fields = [field.with_nullable(field.name not in required) for field in stamped.schema]
                yield stamped.cast(pa.schema(fields))


def _print_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress of hours
