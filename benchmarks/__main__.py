"""The benchmark: `python -m benchmarks`, or `make bench`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Final

from . import works, works_small
from .measure import RunFailedError
from .memory_plot import save_plot
from .report import RESULTS, save_outcome, table, tell
from .works import Figure, Scale, Work

_WORKS: Final[Mapping[str, Work]] = {
    "rest_api": works.against_rest_api,
    "rest_api_duckdb2": works.against_rest_api_duckdb2,
    "floor": works.against_floor,
    "fixed_cost": works.fixed_cost,
    "waiting": works_small.waiting,
    "nothing_new": works_small.nothing_new,
    "nothing_new_in_a_million": works_small.nothing_new_in_a_million,
    "adding": works_small.adding,
    "importing": works_small.importing,
}
_ON_DUCKDB2: Final = ("rest_api_duckdb2",)
_SMALL_DIVISOR: Final = 50


def main() -> int:
    """Measure, print the table and write `results.json`."""
    options = _parser().parse_args()
    names = [options.only] if options.only else list(_WORKS)
    if options.duckdb:
        names = [name for name in names if (name in _ON_DUCKDB2) == (options.duckdb == "2")]
    scale = Scale(options.rounds) if options.size == "full" else Scale(options.rounds, _SMALL_DIVISOR)
    figures: list[Figure] = []
    for name in names:
        started = time.monotonic()
        try:
            outcome = _WORKS[name](scale)
        except RunFailedError as error:
            sys.stderr.write(f"{name}: {error}\n")
            return 1
        figures += outcome.figures
        save_outcome(options.size, name, outcome)
        if outcome.memory and options.size == "full":
            save_plot(outcome.memory, "Resident memory while loading 1,600 batches of 3,000 results")
        tell(f"{name}: {scale.rounds} rounds in {time.monotonic() - started:.0f} s")
        for what, medians in outcome.medians.items():
            tell(f"  {what:<30} CPU {medians.cpu_s:7.2f} s  wall {medians.wall_s:7.2f} s  {medians.peak_mb:6.0f} MB")
    tell("")
    tell(table(figures, judge=options.size == "full"))
    if options.size == "small":
        tell(f"\nThis was a 1/{_SMALL_DIVISOR} of the work: it shows that everything runs and loads the same.")
    tell(f"\nMedians and versions: benchmarks/{RESULTS.name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="full", help="everything, or a smoke test")
    parser.add_argument("--only", choices=_WORKS, metavar="NAME", help=f"one work: {', '.join(_WORKS)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs (default 3)")
    parser.add_argument("--duckdb", choices=("1", "2"), help="only what runs on DuckDB 1.5, or on 2.0")
    return parser


if __name__ == "__main__":
    sys.exit(main())
