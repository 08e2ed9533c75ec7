"""`python -m tests.destinations.overlaps`: two runs of one schedule, each in a fresh container, started on one signal.

Each round has a dataset of its own, every other one with tables that are there already; the runs start within
0.6 seconds and are given the same ids. Then every row is compared with what was served: no batch may be there twice. A
run may refuse (a file of DuckDB can be opened by one process at a time); it may not be wrong.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from random import Random
from typing import Any, Final

from dlt.common.runtime.collector_base import Collector

from enrow_source import enrow_source, run
from enrow_source.testing import SimulatedEnrow, bodies
from tests.destinations.dataset import TargetDataset
from tests.destinations.served import TABLES, Body, decoded, in_order, rows_of
from tests.destinations.targets import TARGETS, Started, Target, real_account

WITHIN_S: Final = 0.6
TIMEOUT_S: Final = 300.0


@dataclass(slots=True)
class Round:
    """What one round found."""

    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    fetches: int = 0
    """GETs of both runs."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule that overlaps itself."""

    warehouse: TargetDataset
    api: SimulatedEnrow
    batch_ids: list[str]

    def run(self, container: str, *, is_plain: bool, progress: Collector | None = None) -> None:
        """Run once in a container of that name, as `pipeline.run` or as `run`."""
        options: dict[str, Any] = {"enrow_api_key": self.api.api_key, "enrow_base_url": self.api.url}
        pipeline = self.warehouse.pipeline(container)
        pipeline.collector = progress or pipeline.collector
        if is_plain:
            pipeline.run(enrow_source(self.batch_ids, **options))
        else:
            run(self.batch_ids, pipeline=pipeline, **options)

    def run_and_exit(self, container: str, *, is_plain: bool, progress: Collector | None = None) -> None:
        """Run once, and end the process with 1 where that fails; the message is in a file."""
        try:
            self.run(container, is_plain=is_plain, progress=progress)
        except BaseException as error:  # noqa: BLE001 - the round reports it
            while error.__cause__ is not None:
                error = error.__cause__
            (self.warehouse.folder / f"{container}.error").write_text(f"{type(error).__name__}: {error}")
            os._exit(1)
        os._exit(0)


def overlap(warehouse: TargetDataset, rng: Random, batches: int, *, is_first: bool) -> Round:
    """Run twice at the same time, compare, run once more, and compare again."""
    found = Round()
    with SimulatedEnrow() as api:
        served: dict[str, list[Body]] = {}
        for number in range(batches):
            batch_id = f"batch-{number}"
            body = bodies.completed(batch_id, 20 + 7 * number % 200)
            served[batch_id] = [*([bodies.ongoing(batch_id, 5, 1)] if number % 4 == 0 else []), body]
            api.respond(batch_id, *served[batch_id])
        schedule = Schedule(warehouse, api, list(served))
        if not is_first:
            in_process(Schedule(warehouse, api, [api.add_completed("earlier", 5)]), "earlier", is_plain=True)
        found.refused = _at_once(schedule, rng)
        found.fetches = len(api.requests)
        found.wrong += in_child(partial(doubled, warehouse))
        in_process(schedule, "last", is_plain=True)
        last = [fetched[-1] for fetched in served.values()]
        found.wrong += in_child(lambda: doubled(warehouse) + unlike(warehouse, last))
    return found


def _at_once(schedule: Schedule, rng: Random) -> list[str]:
    context = multiprocessing.get_context("fork")
    begin = context.Event()
    delays = [0.0, rng.uniform(0, WITHIN_S)]
    plain = [rng.random() < 0.5 for _ in delays]
    processes = [
        context.Process(target=_wait_and_run, args=(schedule, f"c{n}", begin, delays[n], plain[n])) for n in range(2)
    ]
    for process in processes:
        process.start()
    begin.set()
    refused = []
    for number, process in enumerate(processes):
        process.join(TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            refused.append("did not end")
        elif process.exitcode:
            refused.append(message(schedule, f"c{number}"))
    return refused


def in_process(schedule: Schedule, container: str, *, is_plain: bool) -> None:
    """Run once in a process of its own; raises RuntimeError where that fails."""
    process = multiprocessing.get_context("fork").Process(
        target=schedule.run_and_exit, args=(container,), kwargs={"is_plain": is_plain}
    )
    process.start()
    process.join(TIMEOUT_S)
    if process.exitcode:
        raise RuntimeError(f"a run alone failed: {message(schedule, container)}")


def in_child(compare: Callable[[], list[str]]) -> list[str]:
    """Compare in a process of its own: one that has opened a lake or a database cannot be forked any more."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(compare()))
    process.start()
    sender.close()
    try:
        found: list[str] = receiver.recv()
    except EOFError:
        raise RuntimeError("the comparison failed: see above") from None
    process.join(TIMEOUT_S)
    return found


def _wait_and_run(schedule: Schedule, container: str, begin: Event, delay_s: float, is_plain: bool) -> None:
    begin.wait(TIMEOUT_S)
    time.sleep(delay_s)
    schedule.run_and_exit(container, is_plain=is_plain)


def message(schedule: Schedule, container: str) -> str:
    """Return what a run that failed has said."""
    file = schedule.warehouse.folder / f"{container}.error"
    return " ".join(file.read_text(encoding="utf-8").split())[:160] if file.exists() else "killed"


def doubled(warehouse: TargetDataset) -> list[str]:
    """Tell which tables have a batch, or a result of it, twice."""
    wrong = []
    warehouse.pipeline().sync_destination()  # a lake is read by the schema
    for table in TABLES:
        keys = Counter(_key(table, row) for row in warehouse.rows(table))
        if doubled := sum(count - 1 for count in keys.values()):
            wrong.append(f"{table}: {keys.total()} rows, {doubled} too many")
    return wrong


def _key(table: str, row: dict[str, Any]) -> tuple[Any, ...]:
    lower = {name.lower(): value for name, value in row.items()}
    columns = {"phone_results": ("batch_id", "index"), "batch_errors": ("batch_id", "fetched_at")}
    return tuple(lower[name] for name in columns.get(table, ("batch_id",)))


def _drop(warehouse: TargetDataset) -> list[str]:
    warehouse.drop()
    return []


def unlike(warehouse: TargetDataset, served: list[Body]) -> list[str]:
    """Tell which tables have other rows than what was served."""
    wrong = []
    for table, expected in rows_of(served).items():
        rows = [row for row in map(decoded, warehouse.rows(table)) if row["batch_id"] != "earlier"]
        for row in rows:
            for name in ("fetched_at", "first_seen_at", "_dlt_load_id"):
                row.pop(name, None)
        if (has := in_order(rows)) != expected:
            wrong.append(f"{table}: {len(has)} rows for {len(expected)}, {sum(r not in expected for r in has)} wrong")
    return wrong


@contextmanager
def running(target: Target, *, is_real: bool) -> Iterator[tuple[Started, Path]]:
    """Start a destination for this process and those that it forks, and give it a folder for working folders."""
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with real_account(target) if is_real else target.start(folder) as started:
            os.environ |= started.environ
            yield started, folder


@contextmanager
def new_dataset(target: Target, started: Started, folder: Path) -> Iterator[TargetDataset]:
    """Give a dataset, and drop it in the end; its working folders are in a new folder."""
    folder.mkdir()
    dataset = f"enrow_{uuid.uuid4().hex[:8]}"
    warehouse = target.warehouse(started.destination, dataset, folder, started.pipeline_options)
    yield warehouse
    in_child(partial(_drop, warehouse))


def rounds(target: Target, started: Started, folder: Path, number: int, batches: int) -> list[Round]:
    """Run so many rounds at one destination."""
    found = []
    for n in range(number):
        with new_dataset(target, started, folder / f"round-{n}") as warehouse:
            found.append(overlap(warehouse, Random(n), batches, is_first=n % 2 == 0))
        yet = found[-1]
        say(f"{target.name} round {n + 1:>3}  {'; '.join(yet.wrong) or 'every row is right'}", *yet.refused)
    return found


def main() -> int:
    """Run the rounds; the exit code is 1 where one was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.destinations.overlaps", description=__doc__)
    parser.add_argument("target", choices=list(TARGETS), help="run it with the Python of its environment")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--real", action="store_true", help="at the account whose credentials are in the environment")
    options = parser.parse_args()
    target = TARGETS[options.target]
    with running(target, is_real=options.real) as (started, folder):
        found = rounds(target, started, folder, options.rounds, options.batches)
    wrong, refused = sum(bool(r.wrong) for r in found), sum(bool(r.refused) for r in found)
    say(f"{target.name}: {len(found)} rounds, {wrong} wrong, {refused} with a run that refused")
    return int(wrong > 0)


def say(*lines: str) -> None:
    """Print lines at once."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
