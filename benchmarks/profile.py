"""Where the CPU time of a load goes: `python -m benchmarks.profile`."""

from __future__ import annotations

import argparse
import json
from statistics import median

from .bodies import expected
from .report import save_profile, tell
from .runs import batch_ids, place
from .served import served
from .workloads import FULL_BATCH

_PARTS = ("import", "start", "download", "parse", "shape", "write", "extract", "normalise", "load", "merge", "rest")


def main() -> None:
    """Load 400 full batches some times, and print the medians of each part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--batches", type=int, default=400, help="full batches to load (default 400)")
    parser.add_argument("--rounds", type=int, default=3, help="how often to load them (default 3)")
    options = parser.parse_args()
    runs: list[dict[str, float]] = []
    with served(options.batches, FULL_BATCH) as api:
        for _ in range(options.rounds):
            with place() as empty:
                empty.run("ours_profiled", batch_ids(options.batches), api)
                runs.append(json.loads(empty.output().splitlines()[-1]))
                empty.check("ours", expected(options.batches, FULL_BATCH))
    parts = {part: median(run.get(part, 0.0) for run in runs) for part in _PARTS}
    whole = sum(parts.values())
    for part, cpu_s in parts.items():
        tell(f"{part:<10} {cpu_s:6.2f} s {cpu_s / whole:5.0%}")
    tell(f"{'all':<10} {whole:6.2f} s")
    save_profile(
        {
            "workload": f"{options.batches} x {FULL_BATCH:,}",
            "rounds": options.rounds,
            "cpu_s": {part: round(cpu_s, 3) for part, cpu_s in parts.items()},
            "per_cent": {part: round(100 * cpu_s / whole, 1) for part, cpu_s in parts.items()},
        }
    )


if __name__ == "__main__":
    main()
