"""Airflow 3: every fifteen minutes, the shards of the ids in parallel, each in a mapped task of its own.

The ids are where `batch_ids_file` or `batch_ids_query` under `[sources.enrow]` says. The destination takes several
writers: Postgres, Snowflake, BigQuery; with DuckDB set SHARDS to 1.
"""

from datetime import UTC, datetime, timedelta
from threading import Event

import dlt
from airflow.exceptions import AirflowException
from airflow.sdk import dag, task
from dlt.common.destination import Destination

from enrow_source.runner.pipeline import PIPELINE_NAME, build_pipeline
from enrow_source.runner.report import ExitCode
from enrow_source.runner.run import run

SHARDS = 4
DESTINATION = "postgres"


@dag(
    schedule="*/15 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # the next one waits
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
)
def enrow_phone_bulk() -> None:
    """Make the tables once, and load the shards."""

    @task
    def shards() -> list[str]:
        stopped = Event()
        stopped.set()
        run(pipeline=build_pipeline(DESTINATION), stop=stopped)
        return [f"{number}/{SHARDS}" for number in range(1, SHARDS + 1)]

    @task
    def load(shard: str) -> dict[str, int]:
        report = run(pipeline=_pipeline(shard), shard=shard)
        if report.exit_code not in (ExitCode.OK, ExitCode.PARTIAL, ExitCode.INTERRUPTED):
            raise AirflowException(str(report))
        return report.rows

    load.expand(shard=shards())


def _pipeline(shard: str) -> dlt.Pipeline:
    """Give each shard a name, and so a working folder, and a staging dataset of its own."""
    name = f"{PIPELINE_NAME}_{shard.replace('/', '_of_')}"
    destination = Destination.from_reference(DESTINATION, staging_dataset_name_layout=f"%s_staging_{name}")
    return build_pipeline(destination, pipeline_name=name)


enrow = enrow_phone_bulk()

if __name__ == "__main__":
    print(enrow.test().state)
