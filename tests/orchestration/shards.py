"""What the workers and the command of a backfill do, one after the other in one process, without a cluster.

`python shards.py DESTINATION DATASET LAKE load|publish [ID ...]`, in the environment that has deltalake.
"""

import sys
import tempfile

import duckdb_extensions  # type: ignore[import-not-found]  # of the environment that this runs in

from enrow_source.ids.shard import Shard
from enrow_source.runner.backfill import Backfill, _publish, _suppressions
from enrow_source.runner.publish import create_tables
from enrow_source.runner.run import run

SHARDS = 2


def main() -> None:
    destination, dataset, lake, step, *ids = sys.argv[1:]
    duckdb_extensions.import_extension("delta")  # or DuckDB would download it, to read the lake's Delta tables with
    plan = Backfill(destination, dataset, lake, SHARDS, 2)
    with tempfile.TemporaryDirectory() as folder:
        target = plan.target(folder)
        create_tables(target)
        if step == "publish":
            _publish(plan, target)
            return
        suppressions = _suppressions(target).without_secret()
    for number in range(1, SHARDS + 1):
        with tempfile.TemporaryDirectory() as folder:
            part = Shard(number, SHARDS).select(ids)
            run(part, pipeline=plan.shard_pipeline(number, folder), suppressions=suppressions)


if __name__ == "__main__":
    main()
