"""`python -m tests.destinations.hanging`: a run stops in the middle of its load, and goes on after another one.

So it is on a machine that sleeps. The other run is given some of the same batches. Where the lock is a lease, it takes
the lease over and loads, or is stopped too, until the first has ended: that one says that it has lost the lock. Where
the lock ends with its process, the other run refuses. After a third run every row is compared with what was served.
"""

import argparse
import itertools
import multiprocessing
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, Final

import pytest
from dlt.common.runtime.collector_base import Collector

from enrow_source.destination import lease, load_lock
from enrow_source.testing import SimulatedEnrow, bodies
from tests.destinations.dataset import TargetDataset
from tests.destinations.overlaps import (
    TIMEOUT_S,
    Schedule,
    doubled,
    in_child,
    in_process,
    message,
    new_dataset,
    running,
    say,
    unlike,
)
from tests.destinations.served import Body
from tests.destinations.targets import TARGETS, Started, Target

LEASE_S: Final = 2.0
"""After which the other run takes a lease over."""
WAIT_S: Final = 3.0
"""After which it refuses, where the lock does not end."""


@dataclass(slots=True)
class Woken:
    """What became of the run that was stopped, and of the tables."""

    wrong: list[str] = field(default_factory=list)
    told: str = ""
    """Why it failed: it has lost the lock, or the other one has deleted what it had staged in a bucket."""
    other_refused: bool = False
    was_stopped: bool = True
    """Whether its load had so many jobs at all."""


class _Stop(Collector):
    """A progress collector that stops the process when so many jobs of the load are done; 0 is before the first one."""

    def __init__(self, jobs: int) -> None:
        self._left = jobs
        self._is_loading = False

    def update(self, name: str, *_: Any, **__: Any) -> None:
        if self._is_loading and name == "Jobs":
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
            self._left -= 1

    def _start(self, step: str) -> None:
        self._is_loading = step.startswith("Load")

    def _stop(self) -> None:
        self._is_loading = False


def hang(warehouse: TargetDataset, jobs: int, jobs_of_other: int | None) -> Woken:
    """Stop a run when so many jobs of its load are done, run another one, let the first go on, and run a third.

    The other one is stopped too, and goes on when the first has ended; or runs through where its number is None.
    """
    woken = Woken()
    with SimulatedEnrow() as api:
        served: dict[str, Body] = {f"batch-{n}": bodies.completed(f"batch-{n}", 20 + n) for n in range(9)}
        for batch_id, body in served.items():
            api.respond(batch_id, body)
        names = list(served)
        in_process(Schedule(warehouse, api, [api.add_completed("earlier", 5)]), "earlier", is_plain=True)
        first = _start(Schedule(warehouse, api, names[:6]), "first", jobs)
        woken.was_stopped = first.is_alive()
        if woken.was_stopped:
            other = _start(Schedule(warehouse, api, names[3:]), "other", jobs_of_other)
            os.kill(first.pid or 0, signal.SIGCONT)
            first.join(TIMEOUT_S)
            if other.is_alive():
                os.kill(other.pid or 0, signal.SIGCONT)
            other.join(TIMEOUT_S)
            woken.other_refused = other.exitcode != 0
        everything = Schedule(warehouse, api, names)
        woken.told = message(everything, "first") if first.exitcode else ""
        if woken.was_stopped and bool(woken.told) == woken.other_refused:
            woken.wrong.append("both runs have loaded and nothing says so, or neither has")
        in_process(everything, "last", is_plain=True)
        woken.wrong += in_child(
            lambda: doubled(warehouse) + unlike(warehouse, list(served.values())) + _mixed(warehouse)
        )
    return woken


def _start(schedule: Schedule, container: str, jobs: int | None) -> ForkProcess:
    """Run until so many jobs are done, or to the end where there are fewer."""
    process = multiprocessing.get_context("fork").Process(target=_run_impatiently, args=(schedule, container, jobs))
    process.start()
    os.waitid(os.P_PID, process.pid or 0, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return process


def _run_impatiently(schedule: Schedule, container: str, jobs: int | None) -> None:
    patch = pytest.MonkeyPatch()  # of this process alone
    patch.setattr(load_lock, "LOAD_WAIT_S", WAIT_S)
    patch.setattr(lease, "LOAD_LEASE_S", LEASE_S)
    schedule.run_and_exit(container, is_plain=True, progress=None if jobs is None else _Stop(jobs))


def _mixed(warehouse: TargetDataset) -> list[str]:
    """Name the batches whose rows are of several fetches, or of a load that is not complete."""
    stamps: defaultdict[str, set[tuple[Any, str]]] = defaultdict(set)
    for table in ("batches", "batch_stats", "phone_results", "phone_results_ledger"):
        for row in warehouse.rows(table):
            lower = {name.lower(): value for name, value in row.items()}
            stamps[lower["batch_id"]].add((lower["fetched_at"], lower["_dlt_load_id"]))
    loads = set(warehouse.finished_loads())
    mixed = [f"{name} is of {len(found)} fetches" for name, found in sorted(stamps.items()) if len(found) > 1]
    return mixed + [f"{name} is of an unknown load" for name, found in stamps.items() if {i for _, i in found} - loads]


def stops(target: Target, started: Started, folder: Path, jobs: list[int], others: Sequence[int | None]) -> list[Woken]:
    """Stop a run after each of these numbers of jobs, and with each of them the other one, at one destination."""
    found = []
    for number, of_other in itertools.product(jobs, others):
        with new_dataset(target, started, folder / f"stop-{number}-{of_other}") as warehouse:
            found.append(hang(warehouse, number, of_other))
        yet = found[-1]
        what = yet.told or ("it has loaded" if yet.was_stopped else "it was not stopped")
        both = f"{number} jobs" if of_other is None else f"{number} jobs, the other one after {of_other}"
        say(f"{target.name}, stopped after {both}: {what}; {'; '.join(yet.wrong) or 'every row is right'}")
    return found


def main() -> int:
    """Stop runs after several numbers of jobs; the exit code is 1 where a row was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.destinations.hanging", description=__doc__)
    parser.add_argument("target", choices=list(TARGETS), help="run it with the Python of its environment")
    parser.add_argument("--jobs", type=int, nargs="+", default=list(range(6)), help="default: 0 to 5")
    parser.add_argument(
        "--others", type=int, nargs="*", default=[0, 2], help="of the other run; it runs through first (default: 0 2)"
    )
    parser.add_argument("--real", action="store_true", help="at the account whose credentials are in the environment")
    options = parser.parse_args()
    target = TARGETS[options.target]
    with running(target, is_real=options.real) as (started, folder):
        found = stops(target, started, folder, options.jobs, [None, *options.others])
    stopped, wrong = sum(woken.was_stopped for woken in found), sum(bool(woken.wrong) for woken in found)
    say(f"{target.name}: stopped {stopped} times, {wrong} wrong")
    return int(wrong > 0 or stopped == 0)


if __name__ == "__main__":
    sys.exit(main())
