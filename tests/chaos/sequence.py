"""One sequence: runs that are killed, then runs that are not, until there is nothing left to do."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from enrow_source.testing import SimulatedEnrow

from .child import Job
from .compare import TABLES, differences
from .destinations import ChaosDestination
from .forks import ChildEnd, Forks
from .points import LARGEST_NTH, Kill, Point
from .scenario import Batch, Served, invent, served

_CLOCK_SHARE: Final = 0.25
_CLOCK_S: Final = (0.0, 0.9)
_WIPE_SHARE: Final = 0.35
_ONE_WORKER_SHARE: Final = 0.5
_GIVEN_SHARE: Final = 0.8
_GIVEN_AGAIN_SHARE: Final = 0.3
_CLEAN_RUNS: Final = 10
_QUIET_S: Final = 0.05
_EVIDENCE: Final = ("batches", "batch_stats", "phone_results_ledger")
"""A batch with a row there is fetched until it has ended and is loaded, also when its id is not given."""
_GIVING_UP: Final = (Point.GIVING_UP, Point.GIVING_UP_JOBS, Point.GIVEN_UP)
_DONE: Final = (0, 3)
"""Exit codes of a run that loaded what there was: all of it, or all but some batches that could not be read."""


@dataclass(slots=True)
class SequenceResult:
    """What one sequence did and found."""

    seed: int
    story: list[str] = field(default_factory=list)
    """What was done, run by run."""
    kills: Counter[str] = field(default_factory=Counter)
    """Runs that were killed, by the point."""
    missed: int = 0
    """Runs that ended before they reached their point."""
    runs: int = 0
    wiped: int = 0
    """How often the working folder was deleted."""
    wrong: list[str] = field(default_factory=list)


class Sequence:
    """Runs one sequence; the seed decides everything but how far a run gets in a given time."""

    def __init__(self, seed: int, forks: Forks, folder: Path, warehouse: ChaosDestination, api: SimulatedEnrow) -> None:
        self._rng = Random(seed)
        self._forks, self._folder, self._warehouse, self._api = forks, folder, warehouse, api
        self._kills = self._rng.randint(5, 8)
        self._batches = invent(self._rng, api, self._kills)
        self._starts: list[int] = []
        self._killed: set[int] = set()
        self._outcome = SequenceResult(seed)

    def run(self) -> SequenceResult:
        """Run it to its end, compare, and tell."""
        named = _named(self._outcome.seed)
        for number in range(self._kills):
            # All is drawn in any case, so that the seed alone decides what comes next.
            kill, wipes = _draw_kill(self._rng, named[number : number + 1]), self._rng.random() < _WIPE_SHARE
            draws = [self._rng.random() for _ in self._batches]
            workers = 1 if self._rng.random() < _ONE_WORKER_SHARE else 20
            if wipes and number not in range(1, len(named)):
                self._wipe()
            if not self._run(self._given(draws), kill, workers):
                return self._outcome
        for _ in range(_CLEAN_RUNS):
            if not self._run(self._given([0.5] * len(self._batches)), None, 20):
                return self._outcome
            if self._is_done():
                break
        else:
            self._outcome.wrong.append(f"not done after {_CLEAN_RUNS} runs without a kill: {self._left()}")
        self._outcome.wrong += differences(self._warehouse.read(TABLES), self._answers(), self._killed)
        return self._outcome

    def _wipe(self) -> None:
        shutil.rmtree(self._folder / "dlt", ignore_errors=True)
        self._outcome.wiped += 1
        self._outcome.story.append("the working folder is deleted")

    def _given(self, draws: list[float]) -> list[str]:
        """Choose the ids that the next run is given: those in no table more often, for nobody else knows of them."""
        known = {row["batch_id"] for rows in self._warehouse.read(_EVIDENCE).values() for row in rows}
        here = [(batch, draw) for batch, draw in zip(self._batches, draws, strict=True) if self._has_arrived(batch)]
        return [b.batch_id for b, draw in here if draw < (_GIVEN_AGAIN_SHARE if b.batch_id in known else _GIVEN_SHARE)]

    def _has_arrived(self, batch: Batch) -> bool:
        return batch.arrives <= self._outcome.runs

    def _run(self, batch_ids: list[str], kill: Kill | None, workers: int) -> bool:
        """Run once; tells whether the sequence goes on."""
        number, outcome = self._outcome.runs, self._outcome
        self._starts.append(len(self._api.requests))
        ended = self._forks.run(self._job(batch_ids, kill, workers))
        outcome.runs += 1
        outcome.story.append(
            f"run {number}, {kill or 'no kill'}, {workers} workers, {len(batch_ids)} ids: {_how(ended)}"
        )
        if ended.is_killed and kill is not None:
            self._killed.add(number)
            outcome.kills[_where(kill, ended)] += 1
            self._wait_for_silence()
            return True
        outcome.missed += kill is not None
        if ended.returncode not in _DONE:
            outcome.wrong.append(f"run {number} ended with {ended.returncode}: {ended.stderr}")
            return False
        return True

    def _job(self, batch_ids: list[str], kill: Kill | None, workers: int) -> Job:
        environment = {
            "ENROW_API_KEY": self._api.api_key,
            "DLT_DATA_DIR": str(self._folder / "dlt"),
            "LOAD__WORKERS": str(workers),
            "RUNTIME__REQUEST_MAX_ATTEMPTS": "2",
            "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.001",
        }
        arguments = [*self._warehouse.arguments, "--base-url", self._api.url, *(batch_ids or ["--pending"])]
        return Job(str(self._folder), arguments, environment | self._warehouse.environment, kill)

    def _wait_for_silence(self) -> None:
        """Wait until the API has answered what a killed run had sent."""
        before = -1
        while before != (before := len(self._api.requests)):
            time.sleep(_QUIET_S)

    def _answers(self) -> list[Served]:
        return served(self._api, self._batches, self._starts)

    def _left(self) -> list[str]:
        """Name the batches that have not ended, or that the last run asked for."""
        answers, last = self._answers(), self._outcome.runs - 1
        ended = {answer.batch_id for answer in answers if answer.is_terminal}
        asked = {answer.batch_id for answer in answers if answer.run == last}
        return sorted({batch.batch_id for batch in self._batches} - ended | asked)

    def _is_done(self) -> bool:
        """Whether all has ended that ever does, and the last run asked for nothing else."""
        answers, last = self._answers(), self._outcome.runs - 1
        ended = {answer.batch_id for answer in answers if answer.is_terminal}
        asked = {answer.batch_id for answer in answers if answer.run == last}
        never = {batch.batch_id for batch in self._batches if batch.kind in ("endless", "unknown")}
        everything = {batch.batch_id for batch in self._batches}
        return ended | never == everything and asked <= never


def _named(seed: int) -> list[Point]:
    """Choose the first points of a sequence: each gets its turn, so that none is left out."""
    points = list(Point)
    point = points[seed % len(points)]
    if point not in _GIVING_UP:
        return [point]
    # Nothing is given up before something was killed; who is killed at that leaves it to the next run.
    return [Point.MERGED, *_GIVING_UP[: _GIVING_UP.index(point) + 1]]


def _draw_kill(rng: Random, named: list[Point]) -> Kill:
    drawn, after_s, share, nth = rng.choice(list(Point)[1:]), rng.uniform(*_CLOCK_S), rng.random(), rng.random()
    point = named[0] if named else Point.CLOCK if share < _CLOCK_SHARE else drawn
    if point is Point.CLOCK:
        return Kill(point, after_s=after_s)
    return Kill(point, 1 + int(nth * LARGEST_NTH.get(point, 1)))


def _where(kill: Kill, ended: ChildEnd) -> str:
    if kill.point is not Point.CLOCK:
        return str(kill.point)
    return f"{kill.point}, in {ended.stages[-1] if ended.stages else 'the start'}"


def _how(ended: ChildEnd) -> str:
    return f"killed, begun: {' '.join(ended.stages) or 'nothing'}" if ended.is_killed else f"exit {ended.returncode}"
