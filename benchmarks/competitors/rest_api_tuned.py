"""The same `rest_api` source tuned: batches in parallel, parquet instead of INSERT statements, one request a batch.

It loads `phone_results` alone, which is less than the source of this repository loads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import dlt
from dlt.sources.rest_api import rest_api_source
from dlt.sources.rest_api.typing import RESTAPIConfig

_SETTINGS = {
    "EXTRACT__WORKERS": "16",
    "EXTRACT__MAX_PARALLEL_ITEMS": "32",
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "200000",
    "LOAD__DELETE_COMPLETED_JOBS": "true",
}


def main() -> None:
    """Load the batches."""
    url, ids_file, file = sys.argv[1:4]
    os.environ.update(_SETTINGS)

    @dlt.resource(selected=False)
    def batch_ids() -> Iterator[list[dict[str, str]]]:
        yield [{"id": batch_id} for batch_id in Path(ids_file).read_text(encoding="utf-8").split()]

    config: RESTAPIConfig = {
        "client": {"base_url": url, "auth": {"type": "api_key", "name": "x-api-key", "api_key": "key"}},
        "resources": [
            batch_ids(),
            {
                "name": "phone_results",
                "endpoint": {
                    "path": "phone/bulk",
                    "params": {"id": "{resources.batch_ids.id}"},
                    "data_selector": "results",
                    "paginator": "single_page",
                },
                "include_from_parent": ["id"],
                "write_disposition": "merge",
                "merge_key": "_batch_ids_id",
                "parallelized": True,
            },
        ],
    }
    pipeline = dlt.pipeline(
        "rest_api", destination=dlt.destinations.duckdb(file), dataset_name="rest_api_data", pipelines_dir="dlt"
    )
    pipeline.run(rest_api_source(config, max_table_nesting=1), loader_file_format="parquet")


if __name__ == "__main__":
    main()
