"""The benchmark: `python -m benchmarks`, or `make bench`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Final

from . import workloads, workloads_postgres, workloads_small
from .measure import RunFailedError
from .memory_plot import save_plot
from .report import RESULTS, save_outcome, table, tell
from .workloads import Figure, Scale, Workload

_WORKLOADS: Final[Mapping[str, Workload]] = {
    "rest_api": workloads.against_rest_api,
    "floor": workloads.against_floor,
    "floor_duckdb2": workloads.against_floor_duckdb2,
    "memory": workloads.memory,
    "fixed_cost": workloads.fixed_cost,
    "waiting": workloads_small.waiting,
    "nothing_new": workloads_small.nothing_new,
    "one_new": workloads_small.one_new,
    "nothing_new_in_a_million": workloads_small.nothing_new_in_a_million,
    "adding": workloads_small.adding,
    "importing": workloads_small.importing,
    "postgres": workloads_postgres.rows,
    "statements": workloads_postgres.statements,
}
_SMALL_DIVISOR: Final = 50


def main() -> int:
    """Measure, print the table and write `results.json`."""
    options = _parser().parse_args()
    scale = Scale(options.rounds) if options.size == "full" else Scale(options.rounds, _SMALL_DIVISOR)
    figures: list[Figure] = []
    for name in options.only or _WORKLOADS:
        started = time.monotonic()
        try:
            outcome = _WORKLOADS[name](scale)
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
        tell(f"\nThis was a 1/{_SMALL_DIVISOR} of the workload: it shows that everything runs and loads the same.")
    tell(f"\nMedians and versions: benchmarks/{RESULTS.name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="full", help="everything, or a smoke test")
    parser.add_argument(
        "--only", nargs="+", choices=_WORKLOADS, metavar="WORKLOAD", help=f"these alone: {', '.join(_WORKLOADS)}"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each competitor runs (default 3)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
