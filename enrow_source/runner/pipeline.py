"""The pipeline and the settings that its guarantees rest on."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any, cast

import dlt
from dlt.common import logger
from dlt.common.configuration.container import Container
from dlt.common.configuration.utils import deserialize_value
from dlt.common.destination import AnyDestination, Destination, TDestinationReferenceArg
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException
from dlt.common.pipeline import PipelineContext
from dlt.destinations.dataset import get_destination_clients
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.job_client_impl import SqlJobClientBase

from ..errors import ConfigurationError, did_you_mean
from ..options import check_names
from ..source import option_names
from ..tables.schema import BATCH_ERRORS, BATCH_STATS, BATCHES, PHONE_RESULTS
from .defaults import DUCKDB_LIMITS, apply_defaults, configured, use_defaults
from .destination_settings import check_destination_name, check_destination_settings

PIPELINE_NAME = "enrow"

DATASET_NAME = "enrow_data"

WAREHOUSE = "warehouse"
"""Name of the default destination, and so of its file: `warehouse.duckdb`."""

DESTINATION_HELP = (
    f"a dlt destination, or the name of a configured one (default: [destination.{WAREHOUSE}], else {WAREHOUSE}.duckdb)"
)

_EXTRAS = ("az", "bigquery", "filesystem", "gs", "postgres", "s3", "snowflake")
"""Those of the package that dlt has under the same name."""

_KINDS = (*dlt.destinations.__all__, WAREHOUSE)

_OURS = r"enrow-source[\1]"

TABLES = tuple(table.name for table in (BATCHES, BATCH_STATS, PHONE_RESULTS, BATCH_ERRORS))


def build_pipeline(
    destination: TDestinationReferenceArg = None,
    dataset_name: str = DATASET_NAME,
    *,
    pipeline_name: str | None = None,
    **options: Any,  # noqa: ANN401 - passed on as they are
) -> dlt.Pipeline:
    """Build the dlt pipeline, with `run()`'s settings as defaults; `options` go to `dlt.pipeline`.

    Args:
        destination: Any of dlt's, or a name that is configured under `[destination.<name>]`. None is the configured
            destination `warehouse`, and where there is none, DuckDB. DuckDB without a configured database is the file
            `warehouse.duckdb` in the working directory: a file named like the pipeline would make
            `enrow.phone_results` ambiguous in a dataset of that name.
        dataset_name: Dataset or schema of the tables.
        pipeline_name: Name of the pipeline and of its working folder; by default made of destination and dataset, so
            that what a killed run has left is found by runs for the same tables alone.
        options: As `dlt.pipeline` takes them.

    Raises:
        ConfigurationError: `destination` or `dataset_name` is empty; dlt knows no such destination, or it has neither
            tables nor files, or its library is not installed; or a setting is nearly one that is read.
    """
    use_defaults()
    check_names({}, option_names())
    if not dataset_name.strip():
        raise ConfigurationError("dataset_name is empty: name one, or leave it out")
    if destination is None and (destination := default_destination()) != WAREHOUSE:
        check_destination_name(WAREHOUSE)
    if isinstance(destination, str):
        if not destination.strip():
            raise ConfigurationError("destination is empty: name one, or leave it out")
        if destination_type(destination) == "duckdb":
            destination = _duckdb(destination)
    try:
        destination = cast("AnyDestination", Destination.from_reference(destination))
        _import_library(destination)  # before its settings are read
        check_destination_settings(destination)
        _check_kind(destination)
        dataset_name = _normalized(dataset_name, destination)
        pipeline: dlt.Pipeline = dlt.pipeline(
            pipeline_name or _name(destination, dataset_name),
            destination=destination,
            dataset_name=dataset_name,
            **options,
        )
    except UnknownDestinationModule as error:
        raise ConfigurationError(_unknown(str(destination))) from error
    except MissingDependencyException as error:
        raise ConfigurationError(_missing(error)) from None
    except OSError as error:
        where = f"{error.filename}, the working folder of dlt, cannot be used: {error.strerror}"
        raise ConfigurationError(f"{where}. Set DLT_DATA_DIR to a folder that can be written") from error
    apply_defaults(pipeline)
    return pipeline


def _unknown(name: str) -> str:
    if "://" in name:  # it may hold a password
        return "destination is an address, and takes a name, such as duckdb: set DESTINATION__<NAME>__CREDENTIALS to it"
    kind = configured(f"destination.{name}.destination_type")
    if kind is not None:
        return (
            f"dlt has no destination {kind!r}, the destination_type of [destination.{name}]{did_you_mean(kind, _KINDS)}"
        )
    return f"dlt has no destination {name!r}, and none of that name is configured{did_you_mean(name, _KINDS)}"


def _check_kind(destination: AnyDestination) -> None:
    if not issubclass(destination.client_class, (SqlJobClientBase, FilesystemClient)):
        raise ConfigurationError(
            f"the destination {destination.destination_name} has neither tables nor files, in which a run could find"
            " what is loaded: choose another one"
        )


def _normalized(dataset_name: str, destination: AnyDestination) -> str:
    """Return the name that dlt gives the dataset: it would say so at each of its connections."""
    name = dlt.Schema(PIPELINE_NAME).naming.normalize_table_identifier(dataset_name)
    section = f"destination.{destination.destination_name}"
    if name == dataset_name or configured(f"{section}.enable_dataset_name_normalization") in (False, "false"):
        return dataset_name
    logger.warning(f"the dataset is {name}, as dlt writes {dataset_name}")
    return name


def _import_library(destination: AnyDestination) -> None:
    try:
        _ = destination.client_class  # dlt imports it with what the class is made of
    except ModuleNotFoundError as error:
        name = destination.destination_type.removeprefix("dlt.destinations.")
        raise MissingDependencyException(f"{name} destination", [f"dlt[{name}]"]) from error


def _missing(error: MissingDependencyException) -> str:
    """Say which extra brings what is missing: ours has the same name as dlt's, where there is one."""
    pattern = rf"dlt\[({'|'.join(_EXTRAS)})\]"
    packages = " ".join(f"'{re.sub(pattern, _OURS, name)}'" for name in error.dependencies)
    return f"{error.caller} takes packages that are not installed: pip install {packages}"


def _name(destination: AnyDestination, dataset_name: str) -> str:
    Container()[PipelineContext].deactivate()  # a database may be named after an active pipeline
    client, _ = get_destination_clients(dlt.Schema(PIPELINE_NAME), destination, dataset_name)
    digest = hashlib.sha256(f"{client.config} {dataset_name}".encode()).hexdigest()[:8]
    readable = re.sub(r"[^a-z0-9]+", "_", dataset_name.lower()).strip("_")
    return f"{PIPELINE_NAME}_{readable.removeprefix('enrow_')}_{digest}"


def default_destination() -> str:
    """Return the destination of who names none."""
    return WAREHOUSE if _is_configured(WAREHOUSE) else "duckdb"


def destination_type(name: str) -> str:
    """Return the type of a named destination; one that is only named has its name for a type."""
    default = "duckdb" if name == WAREHOUSE else name
    return str(configured(f"destination.{name}.destination_type") or default).removeprefix("dlt.destinations.")


def _duckdb(name: str) -> TDestinationReferenceArg:
    """Make the DuckDB destination: what is not configured of its credentials gets our defaults."""
    if name == "duckdb" and not _is_configured(name) and destination_type(WAREHOUSE) == "duckdb":
        name = WAREHOUSE
    section = f"destination.{name}.credentials"
    given = configured(section)
    path = given if isinstance(given, str) else configured(f"{section}.database")
    limits = configured(f"{section}.global_config") or {}
    if isinstance(limits, str):  # a variable of the environment
        limits = deserialize_value("global_config", limits, dict)
    # No mapping: dlt would read the rest from secrets alone, and a path is none. Absolute: dlt would take a relative
    # path from where the pipeline was first run.
    credentials = DuckDbCredentials(path or str(Path(f"{WAREHOUSE}.duckdb").absolute()))
    credentials.global_config = DUCKDB_LIMITS | limits
    return dlt.destinations.duckdb(credentials, destination_name=name)


def _is_configured(name: str) -> bool:
    """Whether files or environment say anything of a named destination."""
    prefix = f"DESTINATION__{name.upper()}__"
    return configured(f"destination.{name}") is not None or any(key.startswith(prefix) for key in os.environ)
