"""Load packages that a killed or failed run has left behind."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import dlt
from dlt.common import logger
from dlt.common.destination.exceptions import DestinationException, DestinationUndefinedEntity
from dlt.common.exceptions import SignalReceivedException
from dlt.common.pipeline import LoadInfo
from dlt.common.storages.load_package import LoadPackageInfo, PackageStorage
from dlt.common.utils import chunks
from dlt.pipeline.exceptions import PipelineStepFailed

from ..destination.guard import LoadGuard
from ..destination.packages import left_packages, make_folders, refuse_foreign, target_of
from ..destination.session import FILESYSTEM, sql_client_of
from ..destination.sql import parameters
from ..destination.suppressions import read_erasures, refuse_unknown
from ..errors import BusyError, RunError
from ..settings import DELETE_IDS
from ..tables.schema import LEDGER_TABLES
from .causes import one_line, root_cause

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


def recover_pending_loads(pipeline: dlt.Pipeline) -> int:
    """Finish what a killed run left behind, since dlt would load it instead of the source; return the packages.

    What cannot be loaded is given up instead, with its state: where the load had begun, since dlt cannot know which of
    its jobs were committed in the last moment, and would do them twice; where it replaces rows; where another run has
    fetched one of its batches since, or somebody was erased; and where its load fails. The ledger knows nothing of its
    batches, so they are fetched again, where they are named or pending. Raises ConfigurationError where packages are
    for another destination.
    """
    make_folders(pipeline)
    normalized, extracted = pipeline.list_normalized_load_packages(), pipeline.list_extracted_load_packages()
    # Not has_pending_data: it leaves out a package that was being given up, whose end would take a new one with it.
    if not normalized and not extracted:
        return 0
    refuse_foreign(pipeline, target_of(pipeline))
    # In both places: killed between moving a package on, or giving it up, and removing what it was made of.
    moved_on = {*normalized, *pipeline.list_completed_load_packages()}.intersection(extracted)
    replaces = any(mark["replaces"] for mark in left_packages(pipeline).values())
    if moved_on or replaces or has_begun_load(pipeline):
        _give_up(pipeline, "its load had begun")
        return 0
    # An earlier run of this process is another one, too: what it has left may be older than what is there.
    LoadGuard.of(pipeline).disallow()
    try:
        info = load_left(pipeline)
    except (PipelineStepFailed, DestinationException) as error:
        if isinstance(root_cause(error), SignalReceivedException | BusyError):
            raise
        _give_up(pipeline, one_line(root_cause(error)))
        return 0
    # None, whatever dlt declares, where there was nothing but a state.
    return len(info.loads_ids) if info else 0  # type: ignore[redundant-expr]


def _refuse_older_rows(pipeline: dlt.Pipeline, schema_name: str) -> None:
    """Raise RunError where a batch of the packages was fetched since by another run, or somebody was erased.

    It is asked where the lock on the dataset is held. The ids of loads are times, in seconds: when their extraction
    began.
    """
    left = left_packages(pipeline)
    since = datetime.fromtimestamp(min(map(float, left)), UTC)
    batch_ids = sorted({batch_id for mark in left.values() for batch_id in mark["batches"]})
    with sql_client_of(pipeline, schema_name) as client:
        # A lake has no erasures: people cannot be erased there.
        if pipeline.destination.destination_type != FILESYSTEM:
            known = set.intersection(*(set(mark["erasures"]) for mark in left.values()))
            refuse_unknown(read_erasures(client, pipeline.schemas[schema_name]), known)
        if any(
            _is_found(client, table, since, some)
            for table in LEDGER_TABLES.values()
            for some in chunks(batch_ids, DELETE_IDS)
        ):
            raise RunError("another run has loaded some of it since")


def _is_found(client: SqlClientBase[Any], table: str, since: datetime, batch_ids: Sequence[str]) -> bool:
    at, batch_id = map(client.escape_column_name, ("fetched_at", "batch_id"))
    of_batches = f"{batch_id} IN ({parameters(batch_ids)})"
    sql = f"SELECT COUNT(*) FROM {client.make_qualified_table_name(table)} WHERE {at} > %s AND {of_batches}"  # noqa: S608
    with suppress(DestinationUndefinedEntity):
        rows = client.execute_sql(sql, since, *batch_ids)
        return bool(rows and rows[0][0])
    return False


def load_left(pipeline: dlt.Pipeline) -> LoadInfo:
    """Load the packages in the working folder; raises PipelineStepFailed where one of them cannot be."""
    guard = LoadGuard.of(pipeline)
    if pipeline.list_extracted_load_packages():
        pipeline.normalize()
    # Not those of other sources in the pipeline, and of its state: dlt loads them.
    for load_id in left_packages(pipeline):
        schema_name = pipeline.get_load_package_info(load_id).schema_name
        guard.allow(load_id, schema_name, partial(_refuse_older_rows, pipeline, schema_name))
    return pipeline.load()


def _give_up(pipeline: dlt.Pipeline, reason: str) -> None:
    left = sorted({*pipeline.list_normalized_load_packages(), *pipeline.list_extracted_load_packages()})
    logger.warning(
        f"gave up {len(left)} load package(s) that a killed or failed run has left: {', '.join(left)} ({reason:.300});"
        " what they held is fetched again where it is named or pending"
    )
    LoadGuard.of(pipeline).disallow()
    pipeline.abort_packages()


def has_begun_load(pipeline: dlt.Pipeline) -> bool:
    """Whether the load of a package has begun: its lock is gone, and another run may have removed what it has done."""
    return any(
        _has_begun(pipeline.get_load_package_info(load_id)) for load_id in pipeline.list_normalized_load_packages()
    )


def _has_begun(package: LoadPackageInfo) -> bool:
    return bool(
        PackageStorage.is_package_partially_loaded(package)
        or package.jobs["started_jobs"]
        or package.jobs["completed_jobs"]
        or package.jobs["failed_jobs"]
    )
