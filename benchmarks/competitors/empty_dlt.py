"""A dlt run of a resource that yields nothing: what any dlt pipeline costs."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import dlt


@dlt.resource(write_disposition="merge", primary_key="id")
def nothing() -> Iterator[dict[str, str]]:
    """Yield nothing."""
    yield from ()


def main() -> None:
    """Run the pipeline."""
    _, _, file = sys.argv[1:4]
    pipeline = dlt.pipeline(
        "empty", destination=dlt.destinations.duckdb(file), dataset_name="empty_data", pipelines_dir="dlt"
    )
    pipeline.run(nothing())


if __name__ == "__main__":
    main()
