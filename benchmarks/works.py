"""The works that are measured, each with the figures that it gives and what they have to reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from .bodies import expected
from .environments import DuckDB
from .measure import Measured
from .runs import Medians, batch_ids, medians, run_fresh
from .served import served

FULL_BATCH: Final = 3_000
"""Results that a batch holds at most."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    work: str
    measure: str
    bound: Literal["at least", "at most"]
    target: float
    got: float
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure reaches its target."""
        return self.got >= self.target if self.bound == "at least" else self.got <= self.target


@dataclass(slots=True)
class Outcome:
    """What a work gave."""

    figures: list[Figure]
    medians: dict[str, Medians] = field(default_factory=dict)
    """By what ran."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds and megabytes of one run, where they were recorded."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done: everything, or a small part that shows that it works."""

    rounds: int
    divisor: int = 1

    def of(self, count: int) -> int:
        """Return how many of `count` to do."""
        return max(count // self.divisor, 1)


Work = Callable[[Scale], Outcome]


def against_rest_api(scale: Scale) -> Outcome:
    """100 full batches: dlt's declarative source, as taught and tuned."""
    found = _interleaved(scale, 100, ("ours", "rest_api_tuned", "rest_api_taught"))
    ours, work = found["ours"].cpu_s, "100 x 3,000"
    return Outcome(
        [
            Figure(work, "CPU, rest_api tuned / ours", "at least", 4, found["rest_api_tuned"].cpu_s / ours),
            Figure(work, "CPU, rest_api as taught / ours", "at least", 8, found["rest_api_taught"].cpu_s / ours),
        ],
        found,
    )


def against_rest_api_duckdb2(scale: Scale) -> Outcome:
    """100 full batches on DuckDB 2.0, whose parser of INSERT statements is slow."""
    found = _interleaved(scale, 100, ("ours", "rest_api_taught"), "2.0")
    ratio = found["rest_api_taught"].cpu_s / found["ours"].cpu_s
    return Outcome([Figure("100 x 3,000, DuckDB 2.0", "CPU, rest_api as taught / ours", "at least", 25, ratio)], found)


def against_floor(scale: Scale) -> Outcome:
    """400 full batches beside the floor and the analyst's script, and the memory of four times as many."""
    few, many = scale.of(400), scale.of(1_600)
    memory: list[tuple[float, float]] = []

    def rounds() -> Iterator[dict[str, Measured]]:
        with served(FULL_BATCH) as api:
            for _ in range(scale.rounds):
                measured = {
                    name: run_fresh(name, batch_ids(few), api, expected(few, FULL_BATCH))
                    for name in ("ours", "floor", "analyst")
                }
                appending = run_fresh("ours_appending", batch_ids(few), api, expected(few, FULL_BATCH))
                four_times = run_fresh("ours", batch_ids(many), api, expected(many, FULL_BATCH), sample=True)
                memory[:] = four_times.memory
                yield measured | {"ours, appending": appending, "ours, 1,600 batches": four_times}

    found = medians(rounds())
    ours, work = found["ours"], "400 x 3,000"
    growth = found["ours, 1,600 batches"].peak_mb / ours.peak_mb
    return Outcome(
        [
            Figure(work, "CPU, ours / floor", "at most", 1.4, ours.cpu_s / found["floor"].cpu_s),
            Figure(work, "CPU, analyst's script / ours", "at least", 2, found["analyst"].cpu_s / ours.cpu_s),
            Figure(work, "peak memory, ours", "at most", 450, ours.peak_mb, "MB"),
            Figure("1,600 x 3,000", "peak memory / that of 400 x 3,000", "at most", 1.15, growth),
        ],
        found,
        memory,
    )


def fixed_cost(scale: Scale) -> Outcome:
    """20 full batches, where most of the cost is there whatever is loaded."""
    found = _interleaved(scale, 20, ("ours", "floor"))
    ratio = found["ours"].cpu_s / found["floor"].cpu_s
    return Outcome([Figure("20 x 3,000", "CPU, ours / floor", "at most", 3.8, ratio)], found)


def _interleaved(scale: Scale, batches: int, contenders: tuple[str, ...], duckdb: DuckDB = "1.5") -> dict[str, Medians]:
    """Run the contenders one after another, and that as many times as there are rounds."""
    count = scale.of(batches)
    with served(FULL_BATCH) as api:
        return medians(
            {name: run_fresh(name, batch_ids(count), api, expected(count, FULL_BATCH), duckdb) for name in contenders}
            for _ in range(scale.rounds)
        )
