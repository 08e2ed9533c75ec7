"""Many sequences on one destination, and what they came to."""

from __future__ import annotations

import importlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from enrow_source.testing import SimulatedEnrow

from .destinations import DATASET, ChaosDestination, DeltaFolder, DuckDBFile, PostgresDataset
from .forks import Forks
from .points import Point
from .sequence import Sequence, SequenceResult
from .themes import Theme

if TYPE_CHECKING:
    from tests.support.postgres import Postgres

DestinationName: TypeAlias = Literal["duckdb", "postgres", "delta"]
DESTINATIONS: Final[tuple[DestinationName, ...]] = ("duckdb", "postgres", "delta")

_MOST_WRONG: Final = 8


@dataclass(slots=True)
class CampaignResult:
    """What was counted on one destination."""

    destination: DestinationName
    kills: Counter[str] = field(default_factory=Counter)
    """By the point."""
    themes: Counter[str] = field(default_factory=Counter)
    """Sequences, by theme."""
    events: Counter[str] = field(default_factory=Counter)
    """What happened besides kills."""
    sequences: int = 0
    runs: int = 0
    missed: int = 0
    wrong: list[SequenceResult] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, outcome: SequenceResult) -> None:
        """Count one sequence."""
        self.kills += outcome.kills
        self.themes[outcome.theme] += 1
        self.events += outcome.events
        self.sequences += 1
        self.runs += outcome.runs
        self.missed += outcome.missed
        if outcome.wrong:
            self.wrong.append(outcome)

    def __str__(self) -> str:
        """Tell it in the closing line."""
        return f"{self.destination}: {self.kills.total()} kills in {self.sequences} sequences, {len(self.wrong)} wrong"

    @property
    def details(self) -> str:
        """What else there is to know."""
        events = ", ".join(f"{count} x {event}" for event, count in sorted((self.themes + self.events).items()))
        missed = f"{self.missed} ended before their point"
        return f"{self.destination}: {self.runs} runs, {missed}, {events}, {self.seconds:.0f} s"


def run_campaign(
    destination: DestinationName,
    *,
    seed: int,
    kills: int,
    sequences: int | None = None,
    forks: tuple[Forks, Forks],
    server: Postgres | None,
    tell: Callable[[DestinationName, SequenceResult, CampaignResult], None] = lambda *_: None,
) -> CampaignResult:
    """Run sequences, seeds counting up from `seed`, until there are so many sequences, or kills, or wrong ones."""
    if destination == "delta":  # dlt reads the tables with an extension of DuckDB, which would be downloaded
        importlib.import_module("duckdb_extensions").import_extension("delta")
    tally, started = CampaignResult(destination), time.monotonic()
    while not _is_enough(tally, kills, sequences):
        number = seed + tally.sequences
        for outcome in _run_sequences(destination, number, forks, server):
            tally.add(outcome)
            tally.seconds = time.monotonic() - started
            tell(destination, outcome, tally)
    return tally


def theme_of(seed: int, destination: DestinationName) -> Theme:
    """Choose a theme: each has its turn with each point. Nothing can be erased in a lake."""
    themes = [theme for theme in Theme if destination != "delta" or theme is not Theme.ERASURES]
    return themes[(seed + seed // len(Point)) % len(themes)]


def _run_sequences(
    destination: DestinationName, seed: int, forks: tuple[Forks, Forks], server: Postgres | None
) -> list[SequenceResult]:
    """Run one sequence, or, where that is the theme, two that share their folder and take turns."""
    theme, folder = theme_of(seed, destination), Path(tempfile.mkdtemp(prefix="chaos-"))
    datasets = [DATASET, "client_b"] if theme is Theme.TWO_WAREHOUSES else [DATASET]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        sequences = []
        for number, dataset in enumerate(datasets):
            warehouse = _destination(destination, folder, f"{dataset}_{seed}", server)
            stack.callback(warehouse.drop)
            api = stack.enter_context(SimulatedEnrow())
            sequences.append(Sequence(seed + number * 1_000_000, forks, folder, warehouse, api, theme))
        for _ in zip_longest(*(sequence.steps() for sequence in sequences)):
            pass
        return [sequence.outcome for sequence in sequences]


def _destination(destination: DestinationName, folder: Path, dataset: str, server: Postgres | None) -> ChaosDestination:
    if destination == "duckdb":
        return DuckDBFile(folder, dataset)
    if destination == "delta":
        return DeltaFolder(folder, dataset)
    return PostgresDataset(cast("Postgres", server), dataset, folder)


def _is_enough(tally: CampaignResult, kills: int, sequences: int | None) -> bool:
    if len(tally.wrong) >= _MOST_WRONG:
        return True
    return tally.kills.total() >= kills if sequences is None else tally.sequences >= sequences
