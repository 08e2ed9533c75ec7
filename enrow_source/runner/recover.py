"""Load packages that a killed run has left behind."""

from __future__ import annotations

from pathlib import Path

import dlt
from dlt.common.storages import LoadStorage
from dlt.common.storages.load_package import LoadPackageInfo, PackageStorage


def recover_pending_loads(pipeline: dlt.Pipeline) -> int:
    """Finish what a killed run left behind, since dlt would load it instead of the source; return the packages.

    A package whose load had begun is given up instead, with its state: dlt cannot know which of its jobs were
    committed in the last moment, and would do them twice. The ledger knows nothing of its batches, so they are
    fetched again.
    """
    _make_folders(pipeline)
    normalized, extracted = pipeline.list_normalized_load_packages(), pipeline.list_extracted_load_packages()
    # Not has_pending_data: it leaves out a package that was being given up, whose end would take a new one with it.
    if not normalized and not extracted:
        return 0
    # In both places: killed between moving a package on, or giving it up, and removing what it was made of.
    moved_on = {*normalized, *pipeline.list_completed_load_packages()}.intersection(extracted)
    if moved_on or any(_has_begun(pipeline.get_load_package_info(load_id)) for load_id in normalized):
        pipeline.abort_packages()
        return 0
    info = pipeline.run()
    # None, whatever dlt declares, where a first load was killed: the destination knows nothing of it, and dlt drops it.
    return len(info.loads_ids) if info else 0  # type: ignore[redundant-expr]


def _make_folders(pipeline: dlt.Pipeline) -> None:
    """Make the folders that a killed run was about to make: dlt takes one for all of them, and every run would end."""
    folder = Path(pipeline.working_dir, "load")
    if folder.is_dir():
        for name in (LoadStorage.NEW_PACKAGES_FOLDER, LoadStorage.NORMALIZED_FOLDER, LoadStorage.LOADED_FOLDER):
            (folder / name).mkdir(exist_ok=True)


def _has_begun(package: LoadPackageInfo) -> bool:
    return bool(
        PackageStorage.is_package_partially_loaded(package)
        or package.jobs["started_jobs"]
        or package.jobs["completed_jobs"]
        or package.jobs["failed_jobs"]
    )
