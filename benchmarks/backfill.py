"""`python -m benchmarks.backfill`: 30,000 batches through the backfill, and what 100 million rows would take.

Two workers, a lake in a folder, DuckDB at the end. Four sizes give what a run, a batch and a row cost, and the costs
of 100 million rows in batches of 3,000 follow from these. It takes ten minutes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from .bodies import Totals, expected
from .environments import REPOSITORY
from .measure import Measured, RunFailedError, measure
from .runs import batch_ids
from .served import served

_PYTHON: Final = REPOSITORY / ".venv-orchestration" / "bin" / "python"
_PAGE: Final = REPOSITORY / "docs" / "backfill.md"
_MARKS: Final = re.compile(
    r"(?<=<!-- figures: made by `python -m benchmarks\.backfill` -->\n).*?(?=<!-- /figures -->)", re.DOTALL
)
_KEY: Final = "benchmark-key"
_CONFIG: Final = """[sources.enrow]
enrow_base_url = "{url}"
[runtime]
dlthub_telemetry = false
[data_writer]
file_max_items = 200_000
"""
_SHARD: Final = 1_000
"""Small batches in a shard."""
_FULL_BATCH: Final = 3_000
_GOAL_ROWS: Final = 100_000_000
_ROWS_IN_A_FILE: Final = 200_000
_TOTALS: Final = """USE enrow_data;
SELECT (SELECT count(*) FROM phone_results), (SELECT count(*) FROM batches),
    (SELECT sum(index)::BIGINT FROM phone_results),
    (SELECT count(*) FROM phone_results WHERE qualification = 'found'),
    (SELECT sum(credits_cost)::BIGINT FROM batch_stats)"""


@dataclass(frozen=True, slots=True)
class Size:
    """How many batches, of how many results, in how many shards."""

    batches: int
    results: int
    shards: int

    @property
    def rows(self) -> int:
        """Rows of `phone_results`."""
        return self.batches * self.results


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a backfill took, once its rows, keys and sums were found right."""

    size: Size
    took: Measured
    requests: int
    statements: int


def main() -> None:
    """Measure the four sizes, print them with what follows, and write that into `docs/backfill.md`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill", description=__doc__)
    parser.add_argument("--batches", type=int, default=30_000, help="small batches of the largest run")
    many = parser.parse_args().batches
    subprocess.run(["make", ".venv-orchestration/.ready"], cwd=REPOSITORY, check=True)  # noqa: S607 - as a person does
    small = [Size(batches, 3, -(-batches // _SHARD)) for batches in (many // 10, many // 2, many)]
    figures = report(*(_run(size) for size in (*small, Size(many // 100, _FULL_BATCH, 2))))
    sys.stdout.write(figures)
    text = _PAGE.read_text(encoding="utf-8")
    _PAGE.write_text(_MARKS.sub(lambda _: figures, text), encoding="utf-8")


def _run(size: Size) -> Outcome:
    with tempfile.TemporaryDirectory() as name, served(size.batches, size.results) as api:
        folder = Path(name)
        (folder / ".dlt").mkdir()
        (folder / ".dlt" / "config.toml").write_text(_CONFIG.format(url=api.url), encoding="utf-8")
        (folder / ".dlt" / "secrets.toml").write_text(f'[sources.enrow]\nenrow_api_key = "{_KEY}"\n', encoding="utf-8")
        ids = "\n".join(batch_ids(size.batches))
        (folder / "ids.txt").write_text(ids, encoding="utf-8")
        command = [str(_PYTHON), "-m", "benchmarks.competitors.backfill_counted", "--batch-ids-file=ids.txt"]
        took = measure([*command, "--lake=lake", f"--shards={size.shards}"], folder)
        with duckdb.connect(folder / "warehouse.duckdb", read_only=True) as connection:
            found = Totals(*connection.execute(_TOTALS).fetchone() or ())
        if found != expected(size.batches, size.results):
            raise RunFailedError(f"{found} was loaded, not {expected(size.batches, size.results)}")
        statements = int((folder / "output.txt").read_text(encoding="utf-8").split()[-1])
        return Outcome(size, took, api.count(), statements)


def report(few: Outcome, half: Outcome, many: Outcome, large: Outcome) -> str:
    """Tell the four runs, what a batch and a row cost, and what 100 million rows would.

    What a row costs is taken from the run with full batches; what a run and a batch cost, from the others.
    """
    lines = [
        "| batches | rows each | shards | CPU s | wall s | CPU ms a batch | largest process MB | GETs | statements |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {o.size.batches:,} | {o.size.results:,} | {o.size.shards} | {o.took.cpu_s:.0f} | {o.took.wall_s:.0f}"
        f" | {o.took.cpu_s / o.size.batches * 1000:.2f} | {o.took.peak_mb:.0f} | {o.requests:,} | {o.statements} |"
        for o in (few, half, many, large)
    ]
    first, second, per_batch_s = _per_batch_s(few, half), _per_batch_s(half, many), _per_batch_s(few, many)
    fixed_s = few.took.cpu_s - per_batch_s * few.size.batches
    per_row_s = (large.took.cpu_s - fixed_s - per_batch_s * large.size.batches) / large.size.rows
    batches = -(-_GOAL_ROWS // _FULL_BATCH)
    cpu_s = fixed_s + per_batch_s * batches + per_row_s * _GOAL_ROWS
    in_parallel = large.took.cpu_s / large.took.wall_s
    files = large.size.rows / _ROWS_IN_A_FILE
    statements = few.statements + (large.statements - few.statements) / files * (_GOAL_ROWS / _ROWS_IN_A_FILE)
    lines += [
        "",
        f"one more batch, up to {half.size.batches:,} batches: {first * 1e3:.2f} ms CPU",
        f"one more batch, from there to {many.size.batches:,}: {second * 1e3:.2f} ms, x {second / first:.2f}",
        f"a run costs {fixed_s:.1f} s CPU, a batch {per_batch_s * 1e3:.2f} ms, a row {per_row_s * 1e6:.1f} us",
        "",
        f"{_GOAL_ROWS:,} rows in {batches:,} batches of {_FULL_BATCH:,}, from these figures:",
        "",
        f"- CPU {cpu_s / 60:.0f} min; on two cores as busy as in the last run {cpu_s / in_parallel / 60:.0f} min",
        f"- {batches * many.requests / many.size.batches:,.0f} requests",
        f"- {max(o.took.peak_mb for o in (few, half, many, large)):.0f} MB in the largest process",
        f"- {statements:,.0f} statements on the warehouse, all in the publishing step",
        "",
    ]
    return "\n".join(lines)


def _per_batch_s(smaller: Outcome, larger: Outcome) -> float:
    return (larger.took.cpu_s - smaller.took.cpu_s) / (larger.size.batches - smaller.size.batches)


if __name__ == "__main__":
    main()
