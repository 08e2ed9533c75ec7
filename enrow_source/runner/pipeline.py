"""The pipeline and the settings that its guarantees rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination import TDestinationReferenceArg

from ..tables.schema import BATCH_ERRORS, BATCH_STATS, BATCHES, PHONE_RESULTS

PIPELINE_NAME = "enrow"

DATASET_NAME = "enrow_data"

WAREHOUSE = "warehouse"
"""Name of the default destination, and so of its file: `warehouse.duckdb`."""

DUCKDB_LIMITS = {"memory_limit": "96MB", "threads": 1}
"""What DuckDB may use while it loads the default warehouse; more threads load no faster, and cost more."""

TABLES = tuple(table.name for table in (BATCHES, BATCH_STATS, PHONE_RESULTS, BATCH_ERRORS))


def build_pipeline(
    destination: TDestinationReferenceArg = "duckdb",
    dataset_name: str = DATASET_NAME,
    *,
    pipeline_name: str = PIPELINE_NAME,
    **options: Any,  # noqa: ANN401 - passed on as they are
) -> dlt.Pipeline:
    """Build the dlt pipeline; `options` go to `dlt.pipeline`.

    `"duckdb"` alone is the file `warehouse.duckdb` in the working directory: a file named like the pipeline would
    make `enrow.phone_results` ambiguous in a dataset of that name.
    """
    if destination == "duckdb" and not _is_configured("duckdb"):
        destination = dlt.destinations.duckdb(
            # Absolute: dlt would take a relative path from where the pipeline was first run.
            {"database": str(Path(f"{WAREHOUSE}.duckdb").absolute()), "global_config": DUCKDB_LIMITS},
            destination_name=WAREHOUSE,
        )
    pipeline: dlt.Pipeline = dlt.pipeline(pipeline_name, destination=destination, dataset_name=dataset_name, **options)
    return pipeline


def _is_configured(destination: str) -> bool:
    return dlt.secrets.get(f"destination.{destination}.credentials") is not None
