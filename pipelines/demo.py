"""The main job against a simulated API: `make demo`. No key and no account; it writes into `demo/` alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import dlt
import duckdb

from enrow_source.testing import Response, SimulatedEnrow, bodies
from pipelines.phone_bulk import DATASET_NAME, build_pipeline, run

FOLDER = Path("demo")
FILE = FOLDER / "warehouse.duckdb"

TABLES = {
    "batches": "SELECT batch_id, status, fetched_at FROM batches ORDER BY batch_id",
    "batch_stats": "SELECT batch_id, requested, found, found_received, credits_cost::DOUBLE AS credits_cost,"
    " credits_to_refund::DOUBLE AS credits_to_refund FROM batch_stats ORDER BY batch_id",
    "phone_results": "SELECT batch_id, index, qualification, number, country, params__linkedin_url"
    " FROM phone_results WHERE qualification = 'found' ORDER BY batch_id, index LIMIT 6",
    "batch_errors": "SELECT batch_id, http_status, kind, message FROM batch_errors",
}

NEXT = """
With your own key and batch ids, in this checkout:

    export ENROW_API_KEY=...
    .venv/bin/python pipelines/phone_bulk.py BATCH_ID [BATCH_ID ...]

It loads into warehouse.duckdb; the README tells how to load elsewhere."""


def main() -> None:
    """Run the pipeline twice, and show what each run did and what is in the tables."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with SimulatedEnrow() as api:
        batch_ids = _submitted(api)
        print(f"A simulated Enrow API at {api.url}, with {len(batch_ids)} batch ids:")
        print(*(f"  {batch_id}" for batch_id in batch_ids), sep="\n")

        print("\n== First run")
        _run(api, batch_ids)
        _show_tables()

        print("\n== Second run: what is complete is not fetched again, the ongoing batch completes")
        _run(api, batch_ids)
        _show("batches", TABLES["batches"])
    print(f"\nThe tables are in {FILE}, schema {DATASET_NAME}.{NEXT}")


def _submitted(api: SimulatedEnrow) -> list[str]:
    return [
        api.add_documented(),
        api.add_completed("batch-of-3000"),
        api.add_ongoing("batch-in-progress", 1, 25),
        api.respond("batch-rate-limited", Response.rate_limited(1), bodies.completed("batch-rate-limited", 10)),
        api.add_failed("batch-that-failed"),
        "batch-nobody-knows",
    ]


def _run(api: SimulatedEnrow, batch_ids: list[str]) -> None:
    before = len(api.requests)
    pipeline = build_pipeline(dlt.destinations.duckdb(str(FILE)), pipelines_dir=str(FOLDER / "pipelines"))
    print(run(batch_ids, pipeline=pipeline, enrow_api_key=api.api_key, enrow_base_url=api.url))
    print("GET:", ", ".join(str(request.batch_id) for request in api.requests[before:]))


def _show_tables() -> None:
    for table, query in TABLES.items():
        _show(table, query)


def _show(table: str, query: str) -> None:
    with duckdb.connect(str(FILE), read_only=True) as connection:
        connection.execute(f"USE {DATASET_NAME}")
        print(f"\n{table}: {query}")
        connection.sql(query).show(max_width=150)


if __name__ == "__main__":
    main()
