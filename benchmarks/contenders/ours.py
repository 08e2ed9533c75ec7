"""The source of this repository, run as its command runs it: `pipelines/phone_bulk.py` into `warehouse.duckdb`."""

from __future__ import annotations

import sys
from pathlib import Path

import dlt

from pipelines.phone_bulk import build_pipeline as build
from pipelines.phone_bulk import run


def build_pipeline() -> dlt.Pipeline:
    """Build the pipeline that loads into the working directory, its working files included."""
    return build(pipelines_dir="dlt")


def main() -> None:
    """Load the batches."""
    url, ids_file = sys.argv[1:3]
    batch_ids = Path(ids_file).read_text(encoding="utf-8").split()
    run(batch_ids, pipeline=build_pipeline(), enrow_api_key="key", enrow_base_url=url)


if __name__ == "__main__":
    main()
