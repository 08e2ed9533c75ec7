"""The source of this repository, as its README shows it."""

from __future__ import annotations

import sys
from pathlib import Path

import dlt

from enrow_source import enrow_source

DATASET_NAME = "enrow_data"


def build_pipeline(file: str) -> dlt.Pipeline:
    """Build the pipeline that loads into the DuckDB `file`; its working files are in the working directory."""
    pipeline: dlt.Pipeline = dlt.pipeline(
        "enrow", destination=dlt.destinations.duckdb(file), dataset_name=DATASET_NAME, pipelines_dir="dlt"
    )
    return pipeline


def main() -> None:
    """Load the batches."""
    url, ids_file, file = sys.argv[1:4]
    batch_ids = Path(ids_file).read_text(encoding="utf-8").split()
    build_pipeline(file).run(enrow_source(batch_ids, enrow_api_key="key", enrow_base_url=url))


if __name__ == "__main__":
    main()
