"""Load very many batches on a Dask cluster: `enrow backfill --batch-ids-file ids.txt --lake backfill`.

Each worker loads shards of the ids, one at a time: into a lake (Delta tables in a folder or bucket) that one step
publishes to the destination at the end, or straight into a warehouse that takes several writers. Run the same command
again after any end: what is loaded is not fetched again. Workers take key and credentials from their configuration.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, TypeVar

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination import Destination
from dlt.pipeline.exceptions import PipelineStepFailed

from ..destination.load_lock import load_lock
from ..destination.row_log import append_rows
from ..destination.suppressions import Suppressions, configured_privacy, recorded_suppressions
from ..errors import ConfigurationError, EnrowError, RunError
from ..fetch.counts import RunCounts
from ..ids.shard import Shard
from .causes import one_line, root_cause
from .pipeline import PIPELINE_NAME, build_pipeline
from .publish import create_tables, publish
from .report import RunReport
from .run import is_config_error, run
from .run_log import fail_without_row, run_row

if TYPE_CHECKING:
    from dask.distributed import Client, Semaphore

Result = TypeVar("Result")

SHARDS: Final = 64

CONNECTIONS: Final = 16
"""Batches that a worker fetches at the same time."""

_TRIES: Final = 3

_ONE_SHARD_AT_A_TIME: Final = threading.Lock()
"""For workers with several threads: a shard's memory, and dlt's configuration, are the process's."""


class BackfillError(Exception):
    """The backfill did not end well; what its shards have loaded stays, and the same command goes on from there."""


def check_extras(*, has_lake: bool) -> None:
    """Check that what only the backfill needs is installed; raises ConfigurationError that names the extras."""
    extras = {"dask": "distributed"} | ({"deltalake": "deltalake"} if has_lake else {})
    missing = [extra for extra, module in extras.items() if find_spec(module) is None]
    if missing:
        raise ConfigurationError(
            f"{' and '.join(missing)} not installed: pip install 'enrow-source[{','.join(extras)}]'"
        )


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

    The workers of the `client` can import this module; over all of them, at most `request_budget` requests are under
    way at a time.

    Raises:
        BackfillError: A shard failed, or ended early, or what they loaded could not be published.
        ConfigurationError: People were erased at the destination, and `pii_secret` is missing or another one.
    """
    from dask.distributed import Semaphore, as_completed  # noqa: PLC0415 - of an extra

    started_at = datetime.now(UTC)
    ids = tuple(dict.fromkeys(batch_ids))
    # A worker that is killed gives its leases back after dask's `lease-timeout`, 30 seconds.
    budget = Semaphore(max(1, request_budget // plan.connections))
    with tempfile.TemporaryDirectory() as folder:
        target = plan.target(folder)
        _guarded("creating the tables", lambda: create_tables(target))
        suppressions = _suppressions(target).without_secret()
        reports: list[RunReport] = []
        futures = [
            client.submit(load_shard, plan, number, part, suppressions, budget, pure=False, retries=_TRIES)
            for number in range(1, plan.shards + 1)
            for part in (Shard(number, plan.shards).select(ids),)
        ]
        for done, future in enumerate(as_completed(futures), 1):
            # Not its status: a worker may die with what it has just finished, and then this waits for the next one's.
            if (error := future.exception()) is not None:
                client.cancel(futures)
                raise BackfillError(str(error))
            reports.append(future.result())
            fetched = sum(report.fetched for report in reports)
            progress = f"{done} of {plan.shards} shards done, {fetched:,} batches fetched"
            print(progress, file=sys.stderr, flush=True)  # noqa: T201 - progress of hours
        rows = _publish(plan, target) if plan.lake is not None else _sum(report.rows for report in reports)
        report = _report(plan, reports, rows, started_at)
        return fail_without_row(report, append_rows(target, [run_row(report, str(uuid.uuid4()))]))


def _publish(plan: Backfill, target: dlt.Pipeline) -> dict[str, int]:
    """Publish what the shards have loaded, without what was erased until now, while nobody else loads or erases."""

    def publish_alone() -> dict[str, int]:
        with load_lock(target):
            return publish(shards, target, _suppressions(target))

    with tempfile.TemporaryDirectory() as folder:
        shards = [plan.shard_pipeline(number, folder) for number in range(1, plan.shards + 1)]
        return _guarded("publishing", publish_alone)


def _guarded(what: str, do: Callable[[], Result]) -> Result:
    try:
        return do()
    except RunError as error:
        raise BackfillError(f"{what}: {error}") from None
    except PipelineStepFailed as error:
        cause = root_cause(error)
        if is_config_error(error):
            raise ConfigurationError(one_line(cause)) from None
        raise BackfillError(f"{what}: {one_line(cause)}") from None


def _suppressions(target: dlt.Pipeline) -> Suppressions:
    """Read what was erased from the destination."""
    with target.sql_client() as client:
        return recorded_suppressions(client, configured_privacy())


def _report(plan: Backfill, reports: Sequence[RunReport], rows: dict[str, int], started_at: datetime) -> RunReport:
    counts = [field.name for field in fields(RunCounts) if field.name != "stop_reason"]  # a shard that stops has failed
    return RunReport(
        **{name: sum(getattr(report, name) for report in reports) for name in counts},
        rows=rows,
        destination=plan.destination,
        dataset=plan.dataset,
        trigger="backfill",
        started_at=started_at,
        ended_at=datetime.now(UTC),
    )


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))


def load_shard(
    plan: Backfill, number: int, batch_ids: Sequence[str], suppressions: Suppressions, budget: Semaphore
) -> RunReport:
    """Load one shard, on a worker, in an empty working folder: the shard's tables say what is loaded already.

    What was erased at the destination is not loaded into the lake, which has no record of it. Raises BackfillError
    where it failed, or the API did not answer; dask tries it again.
    """
    from dask.distributed import get_worker  # noqa: PLC0415 - of an extra

    shard = f"{number}/{plan.shards}"
    with _ONE_SHARD_AT_A_TIME, budget, tempfile.TemporaryDirectory(dir=get_worker().local_directory) as folder:
        pipeline = plan.shard_pipeline(number, folder)
        try:
            report = run(
                batch_ids, pipeline=pipeline, shard=shard, connections=plan.connections, suppressions=suppressions
            )
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
