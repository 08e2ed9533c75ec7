"""`python -m tests.chaos.submit`: kill runs that submit, lose their answers, and compare with what the API accepted."""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Final

from enrow_source.testing import SimulatedEnrow, event_lines, people_accepted_twice
from tests.support.postgres import Postgres

from .campaign import DestinationName
from .child import Job
from .destinations import ChaosDestination, DuckDBFile, PostgresDataset
from .forks import ChildEnd, Forks
from .points import Kill, Point
from .submit_points import LARGEST_SUBMIT_NTH, SubmitPoint

DESTINATIONS: Final[tuple[DestinationName, ...]] = ("duckdb", "postgres")
"""Files (Delta) are refused: nobody submits to them."""
_TIMEOUT_S: Final = 0.4
"""Seconds that a run waits for an answer."""
_FAULTS: Final = {
    "accept-then-drop": 0.07,
    "accept-then-reset": 0.04,
    "accept-then-500": 0.07,
    "accept-unreadable": 0.03,
    "accept-without-id": 0.03,
    "accept-slowly:1": 0.05,
    "slow-then-accept:1": 0.05,
    "refuse-then-drop": 0.05,
    "refuse-500": 0.04,
    "refuse-429:0": 0.1,
    "refuse-search:1": 0.05,
}
"""What goes wrong with a POST, and how often; what is slow ends after its client has given up."""
_SLOWEST_S: Final = 1.3
_PEOPLE: Final = 14
_KILLS: Final = 6
_ROUNDS: Final = 14
_CLEAN_RUNS: Final = 10
_EXPECTED: Final = (0, 1, 3, 7)
_TABLES: Final = ("submissions", "submitted_searches", "phone_results")


@dataclass(slots=True)
class SubmissionSequenceResult:
    """What one sequence did and found."""

    seed: int
    story: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    """By the point."""
    lost: Counter[str] = field(default_factory=Counter)
    """Faults of POSTs that were accepted."""
    runs: int = 0
    wiped: int = 0
    at_once: int = 0
    """How often two submitted at once."""
    wrong: list[str] = field(default_factory=list)


class SubmissionSequence:
    """Submits the same people again and again, killed and lied to, then once in peace; then compares."""

    def __init__(  # noqa: PLR0917 - what a sequence is made of
        self,
        seed: int,
        forks: Sequence[Forks],
        folder: Path,
        place: ChaosDestination,
        api: SimulatedEnrow,
        threads: Executor,
    ) -> None:
        self._rng = Random(seed)
        self._forks, self._folder, self._place, self._api, self._threads = forks, folder, place, api, threads
        self.outcome = SubmissionSequenceResult(seed)

    def run(self) -> SubmissionSequenceResult:
        """Run it to its end, compare, and tell."""
        self._api.fault_posts_by_chance(_FAULTS)
        for _ in range(_ROUNDS):
            if self.outcome.kills.total() >= _KILLS or self.outcome.wrong:
                break
            self._round()
            self._compare_accepted()
        self._api.fault_posts_by_chance({})
        if not self.outcome.wrong:
            self._finish()
        self.outcome.lost += Counter(batch.fault for batch in self._api.accepted if batch.fault)
        return self.outcome

    def _round(self) -> None:
        draw = self._rng.random()
        if draw < 0.12:
            shutil.rmtree(self._folder / "dlt", ignore_errors=True)
            self.outcome.wiped += 1
            self.outcome.story.append("the working folder is deleted")
        elif draw < 0.35:
            kill = Kill(Point.CLOCK, after_s=self._rng.uniform(0.0, 0.8)) if self._rng.random() < 0.5 else None
            self._start([self._load(kill)])
        elif draw < 0.5:
            self.outcome.at_once += 1
            self._start([self._submit(self._draw_kill()), self._submit(self._draw_kill())])
        else:
            self._start([self._submit(self._draw_kill())])

    def _draw_kill(self) -> Kill | None:
        draw, point, nth = self._rng.random(), self._rng.choice(list(SubmitPoint)), self._rng.random()
        if draw < 0.2:
            return None
        if draw < 0.4:
            return Kill(Point.CLOCK, after_s=self._rng.uniform(0.0, 1.0))
        return Kill(point, 1 + int(nth * LARGEST_SUBMIT_NTH.get(point, 1)))

    def _submit(self, kill: Kill | None) -> Job:
        people = self._folder / f"people-{self._rng.randrange(10**9)}.csv"
        rows = list(range(_PEOPLE))
        self._rng.shuffle(rows)
        with people.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened)
            writer.writerow(("linkedin_url", "firstname", "lastname", "company_domain", "custom"))
            writer.writerows(self._spelled(number) for number in rows)
        size = str(self._rng.randint(1, 5))
        arguments = ["--people-file", str(people), "--max-credits", "100000", "--batch-size", size]
        return self._job("submit", arguments, kill)

    def _spelled(self, number: int) -> tuple[str, ...]:
        """One of the spellings of a person: who is equal is decided by the package alone."""
        custom = f"lead-{number}"
        if number % 3 == 0:
            first = self._rng.choice(("Alma", " alma", "ALMA"))
            return "", first, f"Marlow{number}", self._rng.choice(("amber.example", "Amber.example")), custom
        name, host = f"person-{number}", self._rng.choice(("www.", "", "de."))
        url = self._rng.choice(
            (f"https://{host}linkedin.com/in/{name}", f"http://{host}linkedin.com/in/{name.upper()}/?a=b")
        )
        return url, "", "", "", custom

    def _load(self, kill: Kill | None, *arguments: str) -> Job:
        return self._job("run", ["--pending", *arguments] if not arguments else [*arguments], kill)

    def _job(self, command: str, arguments: list[str], kill: Kill | None) -> Job:
        environment = {
            "ENROW_API_KEY": self._api.api_key,
            "DLT_DATA_DIR": str(self._folder / "dlt"),
            "RUNTIME__REQUEST_TIMEOUT": str(_TIMEOUT_S),
            "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.01",
        }
        if isinstance(self._place, DuckDBFile):  # two at once are in two folders, and share the file
            environment["DESTINATION__DUCKDB__CREDENTIALS"] = str(self._place.file)
        where = [*self._place.arguments, *([] if command == "submissions" else ["--base-url", self._api.url])]
        environment |= self._place.environment
        return Job(str(self._folder), [*where, *arguments], environment, kill, command=command)

    def _start(self, jobs: list[Job]) -> list[ChildEnd]:
        """Run the jobs at the same time, and tell how each ended."""
        for at, job in enumerate(jobs[1:], 1):
            folder = self._folder / f"other-{at}"
            folder.mkdir(exist_ok=True)
            environment = job.environment | {"DLT_DATA_DIR": str(folder / "dlt")}
            jobs[at] = replace(job, folder=str(folder), environment=environment)
        started = [self._threads.submit(forks.run, job) for forks, job in zip(self._forks, jobs, strict=False)]
        ended = [one.result() for one in started]
        for job, one in zip(jobs, ended, strict=True):
            self.outcome.runs += 1
            how = "killed" if one.is_killed else f"exit {one.returncode}"
            if one.returncode == 1:
                how += f": {one.stderr.strip()[-300:]}"
            self.outcome.story.append(f"{job.command}, {job.kill or 'no kill'}: {how}")
            if one.is_killed and job.kill is not None:
                self.outcome.kills[str(job.kill.point)] += 1
            elif one.returncode not in _EXPECTED:
                self.outcome.wrong.append(f"{job.command} ended with {one.returncode}: {one.stdout}{one.stderr}")
        return ended

    def _read(self) -> dict[str, list[dict[str, Any]]]:
        return self._place.read(_TABLES)

    def _compare_accepted(self) -> None:
        """What holds at any time: nobody twice, and no accepted batch whose submission is not there."""
        twice = people_accepted_twice(self._api.accepted)
        self.outcome.wrong += [f"{person} was accepted as {ids}" for person, ids in twice.items()]
        keys: Counter[str] = Counter()
        for batch in self._api.accepted:
            keys.update(search["custom"] for search in batch.searches)
        self.outcome.wrong += [f"{key} was accepted {times} times" for key, times in keys.items() if times > 1]
        rows = {row["submission_id"]: row for row in self._read()["submissions"]}
        for batch in self._api.accepted:
            submission_id = batch.custom["submission"]  # type: ignore[index]
            row = rows.get(submission_id)
            if row is None:
                self.outcome.wrong.append(f"batch {batch.batch_id} was accepted, and no submission is there")
            elif row["state"] in ("refused", "cancelled") or row["batch_id"] not in (None, batch.batch_id):
                self.outcome.wrong.append(f"batch {batch.batch_id} was accepted, and its submission is {row}")

    def _finish(self) -> None:
        """Let the events arrive; resolve what was not accepted; submit and load what is left; compare."""
        time.sleep(_SLOWEST_S)  # what is slow is accepted now, or never
        self._api.finish()
        self._compare_accepted()
        events = self._folder / "events.jsonl"
        events.write_text(event_lines(self._api.events()), encoding="utf-8")
        for _ in range(_CLEAN_RUNS):
            named = ["--batch-ids-file", str(events)] if events.stat().st_size else []
            (ended,) = self._start([self._load(None, *named)])
            if ended.returncode == 0:
                break
        else:
            self.outcome.wrong.append(f"no run without a kill ended well: {ended.stderr[-500:]}")
            return
        # What is still intended is of a run that was killed: the next one calls it unknown.
        self._start([self._submit(None)])
        self._resolve()
        (last,) = self._start([self._submit(None)])
        self._api.finish()
        for _ in range(_CLEAN_RUNS):
            self._start([self._load(None)])
            if len(self._read()["phone_results"]) == _PEOPLE:
                break
        self._compare_accepted()
        self._compare_people()
        if last.returncode != 0:
            self.outcome.wrong.append(f"the last run ended with {last.returncode}: {last.stdout}{last.stderr}")

    def _resolve(self) -> None:
        """Compare what is still unknown with what was accepted, and tell that the rest was not."""
        accepted = {batch.custom["submission"]: batch.batch_id for batch in self._api.accepted}  # type: ignore[index]
        for row in self._read()["submissions"]:
            if row["submission_id"] in accepted and row["state"] != "accepted":
                self.outcome.wrong.append(f"was accepted as {accepted[row['submission_id']]}: {row}")
            elif row["state"] == "unknown":
                resolve = ["resolve", row["submission_id"], "--not-accepted"]
                self._start([self._job("submissions", resolve, None)])

    def _compare_people(self) -> None:
        """At the end everybody was accepted once, and has one result."""
        once = {search["custom"] for batch in self._api.accepted for search in batch.searches}
        found = Counter(row["custom"] for row in self._read()["phone_results"])
        wanted = {f"lead-{number}" for number in range(_PEOPLE)}
        if once != wanted:
            self.outcome.wrong.append(f"never accepted: {sorted(wanted - once)}")
        if found != Counter({f'"{custom}"': 1 for custom in wanted}):
            self.outcome.wrong.append(f"phone_results: {found}")


@dataclass(slots=True)
class SubmissionCampaign:
    """What was counted on one destination."""

    destination: DestinationName
    sequences: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    wiped: int = 0
    at_once: int = 0
    wrong: list[SubmissionSequenceResult] = field(default_factory=list)

    def add(self, outcome: SubmissionSequenceResult) -> None:
        """Count one sequence."""
        self.sequences += 1
        self.kills += outcome.kills
        self.lost += outcome.lost
        self.runs += outcome.runs
        self.wiped += outcome.wiped
        self.at_once += outcome.at_once
        if outcome.wrong:
            self.wrong.append(outcome)

    def __str__(self) -> str:
        """Return it in one line."""
        return (
            f"{self.destination}: {self.kills.total()} kills and {self.lost.total()} lost answers in {self.sequences}"
            f" sequences, {self.runs} runs, {self.at_once} times two at once, folder deleted {self.wiped} times,"
            f" {len(self.wrong)} wrong"
        )


def run_campaign(
    destination: DestinationName,
    *,
    seed: int,
    kills: int,
    forks: Sequence[Forks],
    server: Postgres,
    tell: Any = lambda _: None,
) -> SubmissionCampaign:
    """Run sequences, seeds counting up from `seed`, until there are so many kills, or three wrong sequences."""
    tally = SubmissionCampaign(destination)
    with ThreadPoolExecutor(2) as threads:
        while tally.kills.total() < kills and len(tally.wrong) < 3:
            folder = Path(tempfile.mkdtemp(prefix="chaos-"))
            number = seed + tally.sequences
            is_file = destination == "duckdb"
            place: ChaosDestination = (
                DuckDBFile(folder) if is_file else PostgresDataset(server, f"chaos_submit_{number}")
            )
            with SimulatedEnrow(seed=number, credits=1_000_000) as api:
                outcome = SubmissionSequence(number, forks, folder, place, api, threads).run()
            place.drop()
            shutil.rmtree(folder, ignore_errors=True)
            tally.add(outcome)
            tell(
                f"{tally}" if not outcome.wrong else "\n  ".join(["WRONG", str(number), *outcome.story, *outcome.wrong])
            )
    return tally


def main() -> int:
    """Run the command; returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.submit", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first sequence; each next one has the next seed")
    parser.add_argument("--destination", choices=DESTINATIONS, help="default: all of them, side by side")
    parser.add_argument("--kills", type=int, default=200, help="at least so many for each destination")
    options = parser.parse_args()
    destinations = [options.destination] if options.destination else list(DESTINATIONS)
    with ExitStack() as stack:
        server = stack.enter_context(Postgres())
        threads = stack.enter_context(ThreadPoolExecutor(len(destinations)))
        started = []
        for destination in destinations:
            forks = [stack.enter_context(Forks(_folder(stack))) for _ in range(2)]
            started.append(
                threads.submit(
                    run_campaign,
                    destination,
                    seed=options.seed,
                    kills=options.kills,
                    forks=forks,
                    server=server,
                    tell=_say,
                )
            )
        tallies = [campaign.result() for campaign in started]
    points = sorted({point for tally in tallies for point in tally.kills})
    for point in points:
        _say(f"{point:70}" + "".join(f"{tally.kills[point]:>6}" for tally in tallies))
    _say("\n".join(map(str, tallies)))
    return int(any(tally.wrong for tally in tallies))


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
