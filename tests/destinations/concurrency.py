"""`python -m tests.destinations.concurrency`: many processes load shards of one set of batches into one dataset.

Each has its own pipeline name, working folder and staging dataset. Every round compares every row with the expected
set. `--shared-staging` shows why the staging has to be their own.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

import dlt

from enrow_source import enrow_source
from enrow_source.testing import SimulatedEnrow, bodies
from tests.destinations.served import Body, decoded, in_order, rows_of
from tests.support.postgres import Postgres

TOGETHER_S = 60


@dataclass(frozen=True, slots=True)
class Worker:
    """What one process has to know."""

    shard: str
    batch_ids: Sequence[str]
    api_url: str
    api_key: str
    postgres_url: str
    dataset: str
    folder: str
    has_own_staging: bool

    @property
    def name(self) -> str:
        return f"enrow_{self.shard.replace('/', '_of_')}"

    def load(self) -> None:
        """Load what is given, then what was still ongoing."""
        own: dict[str, Any] = {"staging_dataset_name_layout": f"%s_staging_{self.name}"} if self.has_own_staging else {}
        pipeline: dlt.Pipeline = dlt.pipeline(
            self.name,
            destination=dlt.destinations.postgres(self.postgres_url, **own),
            dataset_name=self.dataset,
            pipelines_dir=self.folder,
        )
        for batch_ids in (self.batch_ids, ()):
            source = enrow_source(
                list(batch_ids), enrow_api_key=self.api_key, enrow_base_url=self.api_url, shard=self.shard
            )
            pipeline.run(source)


def main() -> int:
    """Run the rounds; the exit code is the number of rounds that were wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.destinations.concurrency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--shared-staging", action="store_true", help="dlt's default; expect wrong rows")
    options = parser.parse_args()
    wrong = 0
    with Postgres() as postgres, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(options.workers)
        with ProcessPoolExecutor(options.workers, context, _begin, (barrier,)) as processes:
            for number in range(options.rounds):
                started = time.monotonic()
                found = _round(processes, postgres, f"{folder}/{number}", options, dataset=f"round_{number}")
                wrong += bool(found)
                took = time.monotonic() - started
                sys.stdout.write(f"round {number + 1:>3}  {took:5.1f} s  {'; '.join(found) or 'every row is right'}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{options.rounds - wrong} of {options.rounds} rounds right\n")
    return wrong


_barrier: Barrier


def _begin(barrier: Barrier) -> None:
    """Prepare a process: no telemetry, and the means to start with the others."""
    global _barrier  # noqa: PLW0603 - a pool hands it to a process in no other way
    _barrier = barrier
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"


def _alone(worker: Worker) -> None:
    worker.load()


def _together(worker: Worker) -> None:
    _barrier.wait(TOGETHER_S)
    worker.load()


def _last_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "")


def _round(
    processes: ProcessPoolExecutor, postgres: Postgres, folder: str, options: argparse.Namespace, *, dataset: str
) -> list[str]:
    served: list[Body] = []
    with SimulatedEnrow() as api:
        for number in range(options.batches):
            body = bodies.completed(f"batch-{number}", 20 + 7 * number % 200)
            served.append(body)
            ongoing = bodies.ongoing(f"batch-{number}", 5, 1)
            api.respond(f"batch-{number}", *([ongoing] if number % 3 == 0 else []), body)
        ids = [body["general"]["id"] for body in served]
        workers = [
            Worker(
                f"{number + 1}/{options.workers}",
                ids,
                api.url,
                api.api_key,
                postgres.url,
                dataset,
                folder,
                not options.shared_staging,
            )
            for number in range(options.workers)
        ]
        # The tables are made once, before the workers start.
        first = Worker("1/1", (), api.url, api.api_key, postgres.url, dataset, folder, has_own_staging=True)
        processes.submit(_alone, first).result()
        futures = [processes.submit(_together, worker) for worker in workers]
        errors = [error for error in (future.exception() for future in futures) if error is not None]
        found = [f"{type(error).__name__}: {_last_line(error):.120}" for error in errors]
        fetches = [api.fetches(batch_id) for batch_id in ids]
    shutil.rmtree(folder, ignore_errors=True)
    if not errors and fetches != [2 if number % 3 == 0 else 1 for number in range(options.batches)]:
        found.append(f"fetches: {fetches}")
    for table, expected in rows_of(served).items():
        rows = postgres.query(f"SELECT * FROM {dataset}.{table}")
        kept = [
            {k: v for k, v in row.items() if k not in ("fetched_at", "first_seen_at", "_dlt_load_id")} for row in rows
        ]
        has = in_order(decoded(row) for row in kept)
        if has != expected:
            found.append(f"{table}: {len(has)} rows for {len(expected)}, {sum(r not in expected for r in has)} wrong")
    return found


if __name__ == "__main__":
    sys.exit(main())
