"""Many sequences on one destination, and what they came to."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from enrow_source.testing import SimulatedEnrow
from tests.support.postgres import Postgres

from .destinations import DuckDBFile, PostgresDataset
from .forks import Forks
from .sequence import Sequence, SequenceResult

DestinationName: TypeAlias = Literal["duckdb", "postgres"]
DESTINATIONS: Final[tuple[DestinationName, ...]] = ("duckdb", "postgres")

_MOST_WRONG: Final = 8


@dataclass(slots=True)
class CampaignResult:
    """What was counted on one destination."""

    destination: DestinationName
    kills: Counter[str] = field(default_factory=Counter)
    """By the point."""
    sequences: int = 0
    runs: int = 0
    wiped: int = 0
    missed: int = 0
    wrong: list[SequenceResult] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, outcome: SequenceResult) -> None:
        """Count one sequence."""
        self.kills += outcome.kills
        self.sequences += 1
        self.runs += outcome.runs
        self.wiped += outcome.wiped
        self.missed += outcome.missed
        if outcome.wrong:
            self.wrong.append(outcome)

    def __str__(self) -> str:
        """Tell it in the closing line."""
        return f"{self.destination}: {self.kills.total()} kills in {self.sequences} sequences, {len(self.wrong)} wrong"

    @property
    def details(self) -> str:
        """What else there is to know."""
        return (
            f"{self.destination}: {self.runs} runs, {self.missed} ended before their point,"
            f" working folder deleted {self.wiped} times, {self.seconds:.0f} s"
        )


def run_campaign(
    destination: DestinationName,
    *,
    seed: int,
    kills: int,
    sequences: int | None = None,
    forks: Forks,
    server: Postgres,
    tell: Callable[[DestinationName, SequenceResult, CampaignResult], None] = lambda *_: None,
) -> CampaignResult:
    """Run sequences, seeds counting up from `seed`, until there are so many sequences, or kills, or wrong ones."""
    tally, started = CampaignResult(destination), time.monotonic()
    while not _is_enough(tally, kills, sequences):
        folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        number = seed + tally.sequences
        warehouse = DuckDBFile(folder) if destination == "duckdb" else PostgresDataset(server, f"chaos_{number}")
        with SimulatedEnrow() as api:
            outcome = Sequence(number, forks, folder, warehouse, api).run()
        warehouse.drop()
        shutil.rmtree(folder, ignore_errors=True)
        tally.add(outcome)
        tally.seconds = time.monotonic() - started
        tell(destination, outcome, tally)
    return tally


def _is_enough(tally: CampaignResult, kills: int, sequences: int | None) -> bool:
    if len(tally.wrong) == _MOST_WRONG:
        return True
    return tally.kills.total() >= kills if sequences is None else tally.sequences == sequences
