"""dlt settings that the guarantees rest on, as defaults: the user's own configuration overrides each one.

https://dlthub.com/docs/general-usage/credentials/setup
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

import dlt
from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers.doc import CustomLoaderDocProvider
from dlt.common.pipeline import PipelineContext
from dlt.common.runtime.anon_tracker import disable_anon_tracker
from dlt.common.storages import LoadStorage, LoadStorageConfiguration
from dlt.common.storages.load_package import PackageStorage

DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "load": {
        # A load that SIGTERM finds in progress finishes; it takes seconds.
        "start_new_jobs_on_signal": True,
        # Or the working folder of a scheduled pipeline fills the disk.
        "delete_completed_jobs": True,
        # Files of one table that load at the same time; more take more memory, on DuckDB without being faster.
        "workers": 2,
    },
    # Rows per file, so that the files of one table load in parallel.
    "data_writer": {"file_max_items": 200_000},
}

DUCKDB_LIMITS: Final[dict[str, Any]] = {"memory_limit": "96MB", "threads": 1}
"""What DuckDB may use during a load; more threads load no faster, and cost more."""

_NAME: Final = "defaults of enrow_source"

_OURS: Final[WeakSet[dlt.Pipeline]] = WeakSet()


class _Defaults(CustomLoaderDocProvider):
    """Answers last, and for Enrow's pipelines alone: a scheduler may run others in the same process."""

    def __init__(self) -> None:
        # dlt lists the locations in its message of a missing setting, and cannot do without.
        super().__init__(_NAME, lambda: DEFAULTS, supports_secrets=False, locations=())

    @property
    def is_writable(self) -> bool:
        return False

    def get_value(self, key: str, hint: type[Any], pipeline_name: str | None, *sections: str) -> tuple[Any, str]:
        value, name = super().get_value(key, hint, pipeline_name or "", *sections)
        return (value if value is not None and _is_ours_active() else None), name


def use_defaults() -> None:
    """Add the defaults to dlt's configuration, and turn its telemetry off unless the user has configured it."""
    if _NAME not in {provider.name for provider in dlt.config.config_providers}:
        dlt.config.register_provider(_Defaults())
    if configured("runtime.dlthub_telemetry") is None:
        disable_anon_tracker()


def apply_defaults(pipeline: dlt.Pipeline) -> None:
    """Let the defaults hold for a pipeline."""
    use_defaults()
    _OURS.add(pipeline)


def configured(name: str) -> Any:  # noqa: ANN401 - whatever stands there
    """Return a setting, or a section of settings, from the files and the environment; None where there is none."""
    value: Any = dlt.config.get(name)
    return value


def _is_ours_active() -> bool:
    context = Container()[PipelineContext]
    return context.is_active() and context.pipeline() in _OURS


def prune_completed_loads(pipeline: dlt.Pipeline) -> None:
    """Delete what dlt keeps of completed loads, but for the last few: schema and state, a folder for each load.

    A load with failed jobs stays, as it does in dlt, and all stay where `delete_completed_jobs` is configured as false.
    """
    volume = Path(pipeline.working_dir, "load")
    config = LoadStorageConfiguration(load_volume_path=str(volume))
    if not resolve_configuration(config, sections=("load",)).delete_completed_jobs:
        return
    folder = volume / LoadStorage.LOADED_FOLDER
    for load_id in sorted(pipeline.list_completed_load_packages())[:-LOADS_KEPT]:
        failed = folder / load_id / PackageStorage.FAILED_JOBS_FOLDER
        if not (failed.is_dir() and any(failed.iterdir())):
            shutil.rmtree(folder / load_id, ignore_errors=True)


LOADS_KEPT: Final = 10
"""Completed loads whose schema and state stay in the working folder, for whoever inspects one."""
