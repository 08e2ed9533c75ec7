"""dlt's declarative `rest_api` source as its documentation teaches it, with dlt's default settings.

Ids through a parent resource, one resource for each table, each with its own selector.
https://dlthub.com/docs/dlt-ecosystem/verified-sources/rest_api/basic
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import dlt
from dlt.sources.rest_api import rest_api_source
from dlt.sources.rest_api.typing import EndpointResource, RESTAPIConfig


def _table(name: str, selector: str) -> EndpointResource:
    return {
        "name": name,
        "endpoint": {
            "path": "phone/bulk",
            "params": {"id": "{resources.batch_ids.id}"},
            "data_selector": selector,
            "paginator": "single_page",
        },
        "include_from_parent": ["id"],
    }


def main() -> None:
    """Load the batches."""
    url, ids_file, file = sys.argv[1:4]

    @dlt.resource(selected=False)
    def batch_ids() -> Iterator[list[dict[str, str]]]:
        yield [{"id": batch_id} for batch_id in Path(ids_file).read_text(encoding="utf-8").split()]

    results: EndpointResource = {**_table("phone_results", "results"), "merge_key": "_batch_ids_id"}
    stats: EndpointResource = {**_table("batch_stats", "stats"), "primary_key": "_batch_ids_id"}
    config: RESTAPIConfig = {
        "client": {"base_url": url, "auth": {"type": "api_key", "name": "x-api-key", "api_key": "key"}},
        "resource_defaults": {"write_disposition": "merge"},
        "resources": [batch_ids(), stats, results],
    }
    pipeline = dlt.pipeline(
        "rest_api", destination=dlt.destinations.duckdb(file), dataset_name="rest_api_data", pipelines_dir="dlt"
    )
    pipeline.run(rest_api_source(config))


if __name__ == "__main__":
    main()
