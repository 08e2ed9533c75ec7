"""Load packages of this source in the working folder of a pipeline, and the lock on that folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import dlt
from dlt.common import logger
from dlt.common.storages import LoadStorage
from dlt.pipeline.exceptions import PipelineConfigMissing, PipelineNeverRan

from ..errors import BusyError, ConfigurationError
from ..tables.schema import TABLES
from . import file_lock

if TYPE_CHECKING:
    from dlt.common.storages.load_package import PackageStorage

MARK: Final = "enrow_source"
"""Key in the state of a load package that holds rows of this source; what it is of stands there."""


def target_of(pipeline: dlt.Pipeline) -> str:
    """Return a name for the destination and the dataset, without its secrets; empty where there is none yet."""
    try:
        return f"{pipeline.destination_client().config} {pipeline.dataset_name}"
    except (PipelineNeverRan, PipelineConfigMissing):
        return ""


def normalized_packages(pipeline: dlt.Pipeline) -> PackageStorage:
    """Return the packages that are ready to be loaded."""
    return pipeline._get_load_storage().normalized_packages  # noqa: SLF001 - dlt lists them in public, without their state


def completed_packages(pipeline: dlt.Pipeline) -> PackageStorage:
    """Return the packages that were loaded."""
    return pipeline._get_load_storage().loaded_packages  # noqa: SLF001 - as above


def merge_appended(pipeline: dlt.Pipeline, load_id: str) -> None:
    """Let a package merge what it was to append, since some of it may have been loaded by now."""
    packages = normalized_packages(pipeline)
    schema = packages.load_schema(load_id)
    for table in TABLES:
        if table.name in schema.tables and schema.tables[table.name].get("write_disposition") == "append":
            schema.tables[table.name]["write_disposition"] = "merge"
    packages.save_schema(load_id, schema)


def left_packages(pipeline: dlt.Pipeline) -> dict[str, dict[str, Any]]:
    """Return what earlier runs left of this source: load ids, and what each package is of."""
    found: dict[str, dict[str, Any]] = {}
    for storage in _storages(pipeline):
        for load_id in storage.list_packages():
            mark = cast("dict[str, Any]", storage.get_load_package_state(load_id)).get(MARK)
            if mark:
                found[load_id] = mark
    return found


def refuse_foreign(pipeline: dlt.Pipeline, target: str) -> None:
    """Raise ConfigurationError where the folder has packages for another destination than the target."""
    foreign = sorted({mark["target"] for mark in left_packages(pipeline).values()} - {target})
    if foreign:
        raise ConfigurationError(
            f"the working folder {pipeline.working_dir} has load packages of a killed run for {foreign[0]}, and this"
            f" run is for {target}: name another pipeline, or give them up with"
            f" dlt pipeline {pipeline.pipeline_name} drop-pending-packages"
        )


def refuse_second_dataset(pipeline: dlt.Pipeline, schema_name: str) -> None:
    """Raise ConfigurationError where dlt gives the schema a dataset beside that of the pipeline.

    https://dlthub.com/docs/general-usage/destination-tables
    """
    if not pipeline.config.use_single_dataset and pipeline.default_schema_name != schema_name:
        raise ConfigurationError(
            "use_single_dataset is false, which gives this source a dataset beside that of the pipeline: leave it out,"
            " or give the source a pipeline of its own"
        )


def delete_left(pipeline: dlt.Pipeline, keep: Collection[str]) -> list[str]:
    """Delete the packages of this source that earlier runs left, but those to keep; return their load ids.

    Their batches are in no completed load, so they are fetched again.
    """
    deleted = sorted(set(left_packages(pipeline)).difference(keep))
    for storage in _storages(pipeline):
        for load_id in set(deleted).intersection(storage.list_packages()):
            storage.delete_package(load_id)
    if deleted:
        logger.warning(
            f"gave up {len(deleted)} load package(s) that a killed or failed run has left:"
            f" {', '.join(deleted)}; what they held is fetched again where it is named or pending"
        )
    return deleted


def make_folders(pipeline: dlt.Pipeline) -> None:
    """Make the folders that a killed run was about to make: dlt takes one for all of them, and every run would end."""
    folder = Path(pipeline.working_dir, "load")
    if folder.is_dir():
        for name in (LoadStorage.NEW_PACKAGES_FOLDER, LoadStorage.NORMALIZED_FOLDER, LoadStorage.LOADED_FOLDER):
            (folder / name).mkdir(exist_ok=True)


def delete_half_normalized(pipeline: dlt.Pipeline | None) -> None:
    """Delete what was made of packages of this source by a run that was killed before it removed the packages.

    dlt normalizes what is left before it extracts, cannot put it in a place that is taken, and every later
    `pipeline.run` would end there. Where another run is at work in the folder, it is left alone.
    """
    if pipeline is None:
        return
    make_folders(pipeline)
    half = left_packages(pipeline).keys() & set(pipeline.list_extracted_load_packages())
    half &= set(pipeline.list_normalized_load_packages())
    if half:
        with suppress(BusyError), held_folder(pipeline):
            for load_id in half:
                normalized_packages(pipeline).delete_package(load_id)


def _storages(pipeline: dlt.Pipeline) -> Iterator[PackageStorage]:
    # dlt lists packages in public, and has no public way to their state.
    load, normalize = pipeline._get_load_storage(), pipeline._get_normalize_storage()  # noqa: SLF001
    if load.is_storage_ready():
        yield load.normalized_packages
    if normalize.is_storage_ready():
        yield normalize.extracted_packages


def folder_lock_file(pipeline: dlt.Pipeline) -> Path:
    """Return the file whose lock says that a run is at work; beside the folder, since dlt may delete it."""
    return Path(pipeline.pipelines_dir, f"{pipeline.pipeline_name}.lock")


def take_folder(pipeline: dlt.Pipeline) -> None:
    """Lock the working folder; raises BusyError where another run is at work there."""
    busy = (
        f"another run is at work in {pipeline.working_dir}: run this again when that one has ended, or name another"
        " folder in the variable DLT_DATA_DIR, as each container has its own"
    )
    file_lock.take(folder_lock_file(pipeline), 0.0, busy)


@contextmanager
def held_folder(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Hold the working folder while the `with` block runs; raises as `take_folder` does."""
    take_folder(pipeline)
    try:
        yield
    finally:
        file_lock.release(folder_lock_file(pipeline))
