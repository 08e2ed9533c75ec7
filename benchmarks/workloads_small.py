"""The workloads that load little: waiting, finding nothing new, adding to much, and what is there before any load."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .bodies import expected
from .environments import REPOSITORY, python_for
from .measure import Measured, RunFailedError, measure
from .runs import Medians, Place, batch_ids, medians, place, run_fresh
from .served import Api, served
from .workloads import FULL_BATCH, OURS, Figure, Outcome, Scale

_LATENCY_S: Final = 0.1
_LATENCY_RESULTS: Final = 300
_FEW_RESULTS: Final = 3
_IMPORTS: Final = 10
"""Times that each module is imported in a round."""


def waiting(scale: Scale) -> Outcome:
    """200 batches of 300 with latency: beside what the waiting takes, and a run of one batch without latency."""
    count = scale.of(200)
    one, all_of_them = expected(1, _LATENCY_RESULTS), expected(count, _LATENCY_RESULTS)
    with served(1, _LATENCY_RESULTS) as at_once, served(count, _LATENCY_RESULTS, _LATENCY_S) as late:
        found = medians(
            {
                "ours": run_fresh("ours", batch_ids(count), late, all_of_them),
                "ours, 1 batch without latency": run_fresh("ours", batch_ids(1), at_once, one),
            }
            for _ in range(scale.rounds)
        )
    ideal_s = _LATENCY_S * count / _connections() + found["ours, 1 batch without latency"].wall_s
    ratio = found["ours"].wall_s / ideal_s
    return Outcome([Figure("200 x 300, 100 ms latency", "wall, ours / ideal", "at most", 1.3, ratio)], found)


@contextmanager
def _known(count: int) -> Iterator[tuple[Place, Api]]:
    """Make a place where so many small batches are loaded, and both dlt's empty run and the command have run before."""
    with served(count, _FEW_RESULTS) as api, place() as known:
        known.run("ours", batch_ids(count), api)
        known.check("ours", expected(count, _FEW_RESULTS))
        known.run("empty_dlt")
        known.run("ours_command", batch_ids(count), api)
        yield known, api


def nothing_new(scale: Scale) -> Outcome:
    """10,000 batches that are all loaded; and on the way there, what dlt keeps as the pipeline's state."""
    few, many = scale.of(10), scale.of(10_000)
    with served(few, _FEW_RESULTS) as small_api, place() as small:
        small.run("ours", batch_ids(few), small_api)
        state_few = small.ask("check", "state")[0]
    with _known(many) as (known, api):
        state_many = known.ask("check", "state")[0]
        before = api.count()
        found = medians(
            {name: known.run(name, batch_ids(many), api) for name in ("empty_dlt", *OURS)}
            for _ in range(scale.short_rounds)
        )
        known.run("ours_counted", batch_ids(many), api)
        statements, requests = int(known.output().split()[-1]), api.count() - before
        known.check("ours", expected(many, _FEW_RESULTS))
    workload, empty_s = "nothing new, 10,000 known", found["empty_dlt"].wall_s
    return Outcome(
        [
            *(
                Figure(workload, f"wall, {name} / empty dlt run", "at most", 1.15, found[name].wall_s / empty_s)
                for name in OURS
            ),
            Figure(workload, "GET requests", "at most", 0, requests),
            Figure(workload, "statements on the ledger", "at most", 1, statements),
            Figure("_dlt_pipeline_state", "bytes, 10,000 batches / 10", "at most", 1, state_many / state_few),
        ],
        found,
    )


def one_new(scale: Scale) -> Outcome:
    """One new full batch, where 10,000 are loaded."""
    count = scale.of(10_000)
    new = count  # the number of the batch after those
    ids = batch_ids(count + 1)
    with _known(count) as (known, _), served(1, FULL_BATCH, first=new) as api:

        def add(competitor: str) -> Measured:
            with place(copy_of=known) as copy:
                measured = copy.run(competitor, ids, api)
                if competitor in OURS:
                    copy.check("ours", expected(count, _FEW_RESULTS) + expected(1, FULL_BATCH))
                return measured

        found = medians({name: add(name) for name in ("empty_dlt", *OURS)} for _ in range(scale.short_rounds))
    workload, empty_s = "one new batch, 10,000 known", found["empty_dlt"].cpu_s
    return Outcome(
        [
            Figure(workload, f"CPU, {name} / empty dlt run", "at most", 1.6, found[name].cpu_s / empty_s)
            for name in OURS
        ],
        found,
    )


def nothing_new_in_a_million(scale: Scale) -> Outcome:
    """1,000,000 batches that are all loaded."""
    ids = batch_ids(scale.of(1_000_000))
    with served(1, _FEW_RESULTS) as api, place() as known:
        known.run("ours", ids[:1], api)
        known.run("ours_command", ids[:1], api)
        known.ask("prepare", str(len(ids)))
        known.run("empty_dlt")
        before = api.count()
        found = medians({name: known.run(name, ids, api) for name in ("empty_dlt", *OURS)} for _ in range(scale.rounds))
        if api.count() != before:
            raise RunFailedError(f"{api.count() - before} batches were fetched again")
    workload, empty_s = "nothing new, 1,000,000 known", found["empty_dlt"].wall_s
    over = [Figure(workload, f"wall, {n} - empty dlt run", "at most", 3, found[n].wall_s - empty_s, "s") for n in OURS]
    peaks = [Figure(workload, f"peak memory, {n}", "at most", 400, found[n].peak_mb, "MB") for n in OURS]
    return Outcome([*over, *peaks], found)


def adding(scale: Scale) -> Outcome:
    """20 new batches among those that are loaded, and the same into tables without a row."""
    loaded, new = scale.of(400), scale.of(20)
    with served(loaded + new, FULL_BATCH) as api, place() as empty, place() as full:
        empty.run("ours")
        full.run("ours", batch_ids(loaded), api)

        def add(to: Place, known: int) -> Measured:
            with place(copy_of=to) as copy:
                measured = copy.run("ours", batch_ids(known) + batch_ids(new, first=loaded), api)
                copy.check("ours", expected(known + new, FULL_BATCH))
                return measured

        found = medians(
            {"ours, empty table": add(empty, 0), "ours, loaded table": add(full, loaded)} for _ in range(scale.rounds)
        )
    ratio = found["ours, loaded table"].cpu_s / found["ours, empty table"].cpu_s
    workload = "20 new into 1,200,000 rows"
    return Outcome([Figure(workload, "CPU / the same into an empty table", "at most", 1.3, ratio)], found)


_STATEMENTS: Final = {"dlt": "import dlt", "enrow_source": "from enrow_source import enrow_source"}


def importing(scale: Scale) -> Outcome:
    """Importing the source over importing dlt, in fresh processes."""

    def rounds() -> Iterator[dict[str, Measured]]:
        with place() as somewhere:
            for _ in range(scale.rounds * scale.of(_IMPORTS)):
                yield {
                    name: measure([python_for("ours"), "-c", statement], somewhere.folder)
                    for name, statement in _STATEMENTS.items()
                }

    found: dict[str, Medians] = medians(rounds())
    over_ms = (found["enrow_source"].cpu_s - found["dlt"].cpu_s) * 1_000
    return Outcome([Figure("importing the source", "CPU over import dlt", "at most", 50, over_ms, "ms")], found)


def _connections() -> int:
    code = "from enrow_source.settings import CONNECTIONS as c; print(c)"
    asked = subprocess.run([python_for("ours"), "-c", code], cwd=REPOSITORY, check=True, capture_output=True)  # noqa: S603
    return int(asked.stdout)
