"""The workloads that are measured, each with the figures that it gives and their targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from .bodies import expected
from .environments import DuckDB
from .measure import Measured
from .runs import Medians, batch_ids, medians, run_fresh
from .served import served

FULL_BATCH: Final = 3_000
"""Results that a batch holds at most."""
OURS: Final = ("ours", "ours_command")
"""The source in a plain dlt pipeline, and the command."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    workload: str
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
    """What a workload gave."""

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

    @property
    def short_rounds(self) -> int:
        """How often a run of a second or two is measured: of 3 the median differs by a fifth."""
        return self.rounds * self.of(3)

    def of(self, count: int) -> int:
        """Return how many of `count` to do."""
        return max(count // self.divisor, 1)


Workload = Callable[[Scale], Outcome]


def against_rest_api(scale: Scale) -> Outcome:
    """100 full batches: dlt's declarative source, as taught and tuned."""
    found = _interleaved(scale, 100, (*OURS, "rest_api_tuned", "rest_api_taught"))
    tuned, taught = found["rest_api_tuned"].cpu_s, found["rest_api_taught"].cpu_s
    workload = "100 x 3,000"
    return Outcome(
        [
            *(
                Figure(workload, f"CPU, rest_api tuned / {name}", "at least", 5, tuned / found[name].cpu_s)
                for name in OURS
            ),
            Figure(workload, "CPU, rest_api as taught / ours", "at least", 8, taught / found["ours"].cpu_s),
        ],
        found,
    )


def against_floor(scale: Scale) -> Outcome:
    """400 full batches beside the floor and the analyst's script."""
    found = _interleaved(scale, 400, (*OURS, "floor", "analyst"))
    workload, analyst_s = "400 x 3,000", found["analyst"].cpu_s
    against_analyst = [
        Figure(workload, f"CPU, analyst's script / {name}", "at least", 2.2, analyst_s / found[name].cpu_s)
        for name in OURS
    ]
    return Outcome([*_beside_the_floor(workload, found), *against_analyst], found)


def against_floor_duckdb2(scale: Scale) -> Outcome:
    """The same beside the floor, on DuckDB 2.0."""
    found = _interleaved(scale, 400, (*OURS, "floor"), "2.0")
    return Outcome(_beside_the_floor("400 x 3,000, DuckDB 2.0", found), found)


def _beside_the_floor(workload: str, found: Mapping[str, Medians]) -> list[Figure]:
    floor = found["floor"]
    size = found["ours"].file_mb / floor.file_mb
    return [
        *(Figure(workload, f"CPU, {name} / floor", "at most", 1.4, found[name].cpu_s / floor.cpu_s) for name in OURS),
        Figure(workload, "size of the DuckDB file, ours / floor", "at most", 1.15, size),
        *(Figure(workload, f"peak memory, {name}", "at most", 450, found[name].peak_mb, "MB") for name in OURS),
    ]


def memory(scale: Scale) -> Outcome:
    """The memory of four times as many batches."""
    few, many = scale.of(400), scale.of(1_600)
    samples: list[tuple[float, float]] = []

    def rounds() -> Iterator[dict[str, Measured]]:
        with served(many, FULL_BATCH) as api:
            for _ in range(scale.rounds):
                measured = {}
                for name in OURS:
                    for count in (few, many):
                        run = run_fresh(name, batch_ids(count), api, expected(count, FULL_BATCH), sample=name == "ours")
                        measured[f"{name}, {count:,} batches"] = run
                samples[:] = measured[f"ours, {many:,} batches"].memory
                yield measured

    found = medians(rounds())
    growth = {n: found[f"{n}, {many:,} batches"].peak_mb / found[f"{n}, {few:,} batches"].peak_mb for n in OURS}
    return Outcome(
        [
            Figure("1,600 x 3,000", f"peak memory, {name} / that of 400 x 3,000", "at most", 1.15, growth[name])
            for name in OURS
        ],
        found,
        samples,
    )


def fixed_cost(scale: Scale) -> Outcome:
    """20 full batches, where most of the cost is there whatever is loaded."""
    found = _interleaved(replace(scale, rounds=scale.short_rounds), 20, (*OURS, "floor"))
    floor_s = found["floor"].cpu_s
    return Outcome(
        [Figure("20 x 3,000", f"CPU, {name} / floor", "at most", 3, found[name].cpu_s / floor_s) for name in OURS],
        found,
    )


def _interleaved(scale: Scale, batches: int, names: tuple[str, ...], duckdb: DuckDB = "1.5") -> dict[str, Medians]:
    """Run the competitors one after another, and that as many times as there are rounds."""
    count = scale.of(batches)
    with served(count, FULL_BATCH) as api:
        return medians(
            {name: run_fresh(name, batch_ids(count), api, expected(count, FULL_BATCH), duckdb) for name in names}
            for _ in range(scale.rounds)
        )
