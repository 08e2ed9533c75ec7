"""The source of this repository in any dlt pipeline: dlt's own settings, and its own destination with a plain path."""

from __future__ import annotations

import sys
from pathlib import Path

import dlt
from dlt.common.destination import TDestinationReferenceArg

from enrow_source import enrow_source


def build_pipeline(destination: TDestinationReferenceArg | None = None) -> dlt.Pipeline:
    """Build the pipeline, by default into the DuckDB file that the third argument names."""
    destination = destination or dlt.destinations.duckdb(sys.argv[3])
    pipeline: dlt.Pipeline = dlt.pipeline("benchmark", destination=destination, dataset_name="enrow_data")
    return pipeline


def load(destination: TDestinationReferenceArg | None = None) -> None:
    """Load the batches."""
    url, ids_file = sys.argv[1:3]
    batch_ids = Path(ids_file).read_text(encoding="utf-8").split()
    build_pipeline(destination).run(enrow_source(batch_ids, enrow_api_key="key", enrow_base_url=url))


if __name__ == "__main__":
    load()
