"""One sequence: runs that are killed, then runs that are not, until there is nothing left to do."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Final

from enrow_source.testing import SimulatedEnrow

from .child import PLAIN, Job
from .compare import TABLES, differences
from .destinations import ChaosDestination
from .forks import ChildEnd, Forks
from .points import LARGEST_NTH, Kill, Point
from .scenario import Batch, Served, invent, served
from .themes import Theme

_CLOCK_SHARE: Final = 0.25
_CLOCK_S: Final = (0.0, 0.9)
_WIPE_SHARE: Final = 0.35
_ONE_WORKER_SHARE: Final = 0.5
_GIVEN_SHARE: Final = 0.8
_GIVEN_AGAIN_SHARE: Final = 0.3
_PLAIN_SHARE: Final = 0.5
_EVENT_SHARE: Final = 0.4
_WITHIN_S: Final = 0.6
"""A second run starts so much later, at most."""
_CLEAN_RUNS: Final = 10
_QUIET_S: Final = 0.05
_EVIDENCE: Final = ("batches", "batch_stats", "phone_results_ledger")
"""A batch with a row there is fetched until it has ended and is loaded, also when its id is not given."""
_GIVING_UP: Final = (Point.GIVING_UP, Point.GIVING_UP_JOBS, Point.GIVEN_UP)
_DONE: Final = (0, 3)
"""Exit codes of a run that loaded what there was: all of it, or all but some batches that could not be read."""
_TO_BE_FIXED: Final = 2
_BUSY: Final = ("lock", "another run")
"""What a run says that is refused because another one has the destination or the folder."""


@dataclass(slots=True)
class SequenceResult:
    """What one sequence did and found."""

    seed: int
    theme: Theme = Theme.COMMAND
    story: list[str] = field(default_factory=list)
    """What was done, run by run."""
    kills: Counter[str] = field(default_factory=Counter)
    """Runs that were killed, by the point."""
    events: Counter[str] = field(default_factory=Counter)
    """What happened besides."""
    missed: int = 0
    """Runs that ended before they reached their point."""
    runs: int = 0
    wrong: list[str] = field(default_factory=list)


class Sequence:
    """Runs one sequence; the seed decides everything but how far a run gets in a given time.

    Args:
        seed: Of all that is drawn.
        forks: One for the runs, and one for those beside them.
        folder: Where they run.
        warehouse: Where they load to.
        api: What they ask.
        theme: What happens besides kills.
    """

    def __init__(  # noqa: PLR0917 - what a sequence is made of
        self,
        seed: int,
        forks: tuple[Forks, Forks],
        folder: Path,
        warehouse: ChaosDestination,
        api: SimulatedEnrow,
        theme: Theme = Theme.COMMAND,
    ) -> None:
        self._rng = Random(seed)
        self._forks, self._folder, self._warehouse, self._api, self._theme = forks, folder, warehouse, api, theme
        self._kills = self._rng.randint(5, 8)
        self._batches = invent(self._rng, api, self._kills)
        self._starts: list[int] = []
        self._undone: set[int] = set()
        """Runs whose fetches may be made again: those that were killed, or that a restore has undone."""
        self._beside: set[int] = set()
        """Runs that had another one beside them, which may fetch the same."""
        self._erased: dict[str, int] = {}
        """Erased batches, each with the number of requests before."""
        self._stages: tuple[str, ...] = ()
        """The steps that the last run began."""
        self._backed_up = -1
        """Runs before the last backup."""
        self.outcome = SequenceResult(seed, theme)

    def run(self) -> SequenceResult:
        """Run it to its end, compare, and tell."""
        for _ in self.steps():
            pass
        return self.outcome

    def steps(self) -> Iterator[None]:
        """Run it in steps, so that another one can share the folder."""
        named = _named(self.outcome.seed)
        for number in range(self._kills):
            # All is drawn in any case, so that the seed alone decides what comes next.
            kill, wipes = _draw_kill(self._rng, named[number : number + 1]), self._rng.random() < _WIPE_SHARE
            draws = [self._rng.random() for _ in self._batches]
            workers = 1 if self._rng.random() < _ONE_WORKER_SHARE else 20
            if wipes and number not in range(1, len(named)):
                self._wipe()
            if self._rng.random() < _EVENT_SHARE:
                self._happen()
            if not self._run(self._given(draws), kill, workers):
                return
            yield
        if self._theme is Theme.RESTORE and self._backed_up >= 0:
            self._restore()
        for _ in range(_CLEAN_RUNS):
            if not self._run(self._given([0.5] * len(self._batches)), None, 20):
                return
            yield
            if self._is_done():
                break
        else:
            self.outcome.wrong.append(f"not done after {_CLEAN_RUNS} runs without a kill: {self._left()}")
        self._compare()

    def _compare(self) -> None:
        answers, tables = self._answers(), self._warehouse.read(TABLES)
        kept = [answer for answer in answers if answer.batch_id not in self._erased]
        self.outcome.wrong += differences(tables, kept, self._undone, self._beside)
        for batch_id, before in self._erased.items():
            again = [request for request in self._api.requests[before:] if request.batch_id == batch_id]
            if again:
                self.outcome.wrong.append(f"{batch_id} was asked for {len(again)} times after it was erased")

    def _happen(self) -> None:
        """Let happen what the theme has, between two runs."""
        if self._theme is Theme.RESTORE:
            if self._backed_up < 0 or self._rng.random() < 0.5:
                self._warehouse.back_up()
                self._backed_up = self.outcome.runs
                self._note("a backup is made")
            else:
                self._restore()
        if self._theme is Theme.ERASURES:
            self._erase()

    def _restore(self) -> None:
        self._warehouse.restore()
        self._undone.update(range(self._backed_up, self.outcome.runs))
        self._note("the warehouse is restored")

    def _erase(self) -> None:
        """Erase a batch that is loaded; in every other case the first attempt is killed."""
        loaded = {row["batch_id"] for row in self._warehouse.read(["batches"])["batches"]}
        names = [b.batch_id for b in self._batches if b.batch_id in loaded and b.batch_id not in self._erased]
        if not names:
            return
        batch_id = self._rng.choice(names)
        arguments = [*self._warehouse.arguments, "--batch-id", batch_id, "--execute"]
        job = replace(self._job([], None, 20), arguments=arguments, command="erase")
        kill = Kill(Point.CLOCK, after_s=self._rng.uniform(0.0, 0.3))
        if self._rng.random() < 0.5 and self._forks[0].run(replace(job, kill=kill)).is_killed:
            self._note("an erasure is killed")
        ended = self._forks[0].run(job)
        if ended.returncode == _TO_BE_FIXED and "left load packages" in ended.stderr:
            self._note("an erasure is refused until a run has finished what is left")
            return
        if ended.returncode != 0:
            self.outcome.wrong.append(f"erase of {batch_id} ended with {ended.returncode}: {ended.stderr}")
        self._erased[batch_id] = len(self._api.requests)
        self._note("a batch is erased", batch_id)

    def _wipe(self) -> None:
        shutil.rmtree(self._folder / "dlt", ignore_errors=True)
        self._note("the working folder is deleted")

    def _note(self, event: str, more: str = "") -> None:
        self.outcome.events[event] += 1
        self.outcome.story.append(f"{event} {more}".strip())

    def _given(self, draws: list[float]) -> list[str]:
        """Choose the ids that the next run is given: those in no table more often, for nobody else knows of them."""
        tables = self._warehouse.read(_EVIDENCE)
        for table, rows in tables.items():
            held = (f"{row['batch_id']} {row['status']} of {row['_dlt_load_id']}" for row in rows)
            self.outcome.story.append(f"  {table}: {', '.join(held)}")
        known = {row["batch_id"] for rows in tables.values() for row in rows}
        known |= self._erased.keys()
        here = [(batch, draw) for batch, draw in zip(self._batches, draws, strict=True) if self._has_arrived(batch)]
        return [b.batch_id for b, draw in here if draw < (_GIVEN_AGAIN_SHARE if b.batch_id in known else _GIVEN_SHARE)]

    def _has_arrived(self, batch: Batch) -> bool:
        return batch.arrives <= self.outcome.runs

    def _run(self, batch_ids: list[str], kill: Kill | None, workers: int) -> bool:
        """Run once, alone or beside another one; return whether the sequence goes on."""
        number, outcome = self.outcome.runs, self.outcome
        self._starts.append(len(self._api.requests))
        jobs = [self._job(batch_ids, kill, workers)]
        delay_s = self._rng.uniform(0.0, _WITHIN_S)
        if kill is not None and self._theme is Theme.OVERLAPS:
            jobs.append(self._fresh(self._job(batch_ids, None, workers)))
            self._beside.add(number)
        ends = self._at_once(jobs, delay_s)
        outcome.runs += 1
        for job, ended in zip(jobs, ends, strict=True):
            what = f"run {number}, {job.command}, {job.kill or 'no kill'}, {workers} workers, {len(batch_ids)} ids"
            outcome.story.append(f"{what}: {_how(ended)}")
        asked = (f"{request.batch_id} {request.status}" for request in self._api.requests[self._starts[-1] :])
        outcome.story.append(f"  asked for {', '.join(asked)}")
        ended = ends[0]
        self._stages = ended.stages
        if kill is not None and ended.is_killed:
            self._undone.add(number)
            outcome.kills[_where(kill, ended)] += 1
            self._wait_for_silence()
        elif kill is not None:
            outcome.missed += 1
        bad = [
            end for end in ends if not (end.is_killed or end.returncode in _DONE or self._is_refused(end, len(jobs)))
        ]
        outcome.wrong += [f"run {number} ended with {end.returncode}: {end.stderr}" for end in bad]
        return not bad

    def _is_refused(self, end: ChildEnd, runs: int) -> bool:
        """Whether a run was not let in because of the one beside it."""
        last = "\n".join(end.stderr.splitlines()[-5:])
        return runs > 1 and self._warehouse.has_one_writer and any(word in last for word in _BUSY)

    def _at_once(self, jobs: list[Job], delay_s: float) -> list[ChildEnd]:
        """Run jobs at the same time, the second one a little later."""
        if len(jobs) == 1:
            return [self._forks[0].run(jobs[0])]

        def later(forks: Forks, job: Job) -> ChildEnd:
            time.sleep(delay_s)
            return forks.run(job)

        self._note("two runs at the same time")
        with ThreadPoolExecutor(len(jobs)) as threads:
            first = threads.submit(self._forks[0].run, jobs[0])
            second = threads.submit(later, self._forks[1], jobs[1])
            return [first.result(), second.result()]

    def _fresh(self, job: Job) -> Job:
        """Make a job one of a fresh container."""
        folder = self._folder / "beside"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return replace(job, folder=str(folder), environment=job.environment | {"DLT_DATA_DIR": str(folder / "dlt")})

    def _job(self, batch_ids: list[str], kill: Kill | None, workers: int) -> Job:
        environment = {
            "ENROW_API_KEY": self._api.api_key,
            "DLT_DATA_DIR": str(self._folder / "dlt"),
            "LOAD__WORKERS": str(workers),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "RUNTIME__REQUEST_MAX_ATTEMPTS": "2",
            "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.001",
        }
        arguments = [*self._warehouse.arguments, "--base-url", self._api.url, *(batch_ids or ["--pending"])]
        is_plain = self._theme is not Theme.COMMAND and self._rng.random() < _PLAIN_SHARE
        command = PLAIN if is_plain else "run"
        return Job(str(self._folder), arguments, environment | self._warehouse.environment, kill, command=command)

    def _wait_for_silence(self) -> None:
        """Wait until the API has answered what a killed run had sent."""
        before = -1
        while before != (before := len(self._api.requests)):
            time.sleep(_QUIET_S)

    def _answers(self) -> list[Served]:
        return served(self._api, self._batches, self._starts)

    def _left(self) -> list[str]:
        """Name the batches that have not ended, or that the last run asked for."""
        answers, last = self._answers(), self.outcome.runs - 1
        ended = {answer.batch_id for answer in answers if answer.is_terminal}
        asked = {answer.batch_id for answer in answers if answer.run == last}
        return sorted({batch.batch_id for batch in self._batches} - ended | asked)

    def _is_done(self) -> bool:
        """Whether all has ended that ever does, and the last run asked for nothing else."""
        if "extract" not in self._stages:
            return False  # `pipeline.run` gives up what a killed run has left, and reads nothing itself
        answers, last = self._answers(), self.outcome.runs - 1
        ended = {answer.batch_id for answer in answers if answer.is_terminal} | self._erased.keys()
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
    return [Point.COMPLETING, *_GIVING_UP[: _GIVING_UP.index(point) + 1]]


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
