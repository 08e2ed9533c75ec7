"""`python -m tests.soak`: 20,000 and 200,000 batches into DuckDB; accounts for every id and compares the memory.

Exit code 1 where an id is missing, is there twice, or was asked for more often than it should, or the memory grew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from enrow_source.runner.report import ExitCode
from tests.support import REPOSITORY

from . import batches

FLAT: Final = 1.2
"""Ten times the batches may take this many times the memory until the load: the ids themselves are held."""
QUICK: Final = {
    "RUNTIME__REQUEST_MAX_ATTEMPTS": str(batches.ATTEMPTS),
    "RUNTIME__REQUEST_BACKOFF_FACTOR": "0",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
}


class NotAccountedForError(Exception):
    """The run did not end as it should, or its tables are not what the server served."""


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a run over many batches gave."""

    found: Counter[str | None]
    """Batches by status, and by kind of error."""
    requests: int
    fetched_mb: int
    """Most memory held until everything was fetched and ready to load."""
    loaded_mb: int
    """The same at the end; DuckDB, which runs in the same process, takes what it gets."""
    wall_s: float

    @property
    def message(self) -> str:
        """The batches in words, most of them first."""
        return ", ".join(f"{count:,} {outcome}" for outcome, count in self.found.most_common())


def soak(count: int) -> Soaked:
    """Run over `count` batches, and account for each.

    Raises:
        NotAccountedForError: One is missing, or is there in two ways, or the run failed.
    """
    server = _Server()
    try:
        with tempfile.TemporaryDirectory(prefix="enrow-soak-") as name:
            began = time.monotonic()
            message = _run(Path(name), count, server.port)
            wall_s = time.monotonic() - began
            found = _account(Path(name) / "warehouse.duckdb", count)
            requests = server.stop()
    finally:
        server.kill()
    _, wanted = batches.expected(count)
    if requests != wanted:
        raise NotAccountedForError(f"{requests:,} requests instead of {wanted:,}")
    peaks = json.loads(message.splitlines()[-1])
    return Soaked(found, requests, peaks["normalize"], peaks["load"], wall_s)


def _run(folder: Path, count: int, port: int) -> str:
    with (folder / "output.txt").open("w+", encoding="utf-8") as output:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.soak.run", str(count), f"http://127.0.0.1:{port}"],
            cwd=folder,
            env=_environment(folder),
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output.seek(0)
        message = output.read()
    if ended.returncode != ExitCode.PARTIAL:
        raise NotAccountedForError(f"the run ended with {ended.returncode}:\n{message[-3_000:]}")
    return message


def _account(file: Path, count: int) -> Counter[str | None]:
    """Compare where each batch is with where it has to be."""
    with duckdb.connect(str(file), read_only=True) as connection:
        rows = connection.execute(
            "SELECT batch_id, status FROM enrow_data.batches UNION ALL"
            " SELECT batch_id, kind FROM enrow_data.batch_errors"
        ).fetchall()
        results = connection.execute(
            "SELECT count(*), count(DISTINCT batch_id), min(index), max(index) FROM enrow_data.phone_results"
        ).fetchall()
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM enrow_data.batch_stats), (SELECT sum(results_loaded) FROM"
            " enrow_data.phone_results_ledger)"
        ).fetchall()
    wrong = Counter(rows)
    fates = (batches.fate_of(number) for number in range(count))
    wrong.subtract(Counter((batches.batch_id(n), fate.status or fate.kind) for n, fate in enumerate(fates)))
    not_there = [f"{row}: {'too many' if much > 0 else 'missing'}" for row, much in wrong.items() if much]
    found = Counter(outcome for _, outcome in rows)
    completed, known = found["completed"], sum(found[status] for status in ("completed", "ongoing", "failed"))
    if not_there or results != [(completed, completed, 0, 0)] or counts != [(known, completed)]:
        raise NotAccountedForError(f"{len(not_there)} batches: {not_there[:10]}; {results}; {counts}")
    return found


class _Server:
    """The API, in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.server"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._line())

    def stop(self) -> int:
        """Stop it; returns how many requests there were."""
        if self._process.stdin is None:
            raise AssertionError("unreachable: it is a pipe")
        self._process.stdin.close()
        requests = int(self._line())
        self._process.wait()
        return requests

    def kill(self) -> None:
        """Stop it in any case."""
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        if self._process.stdout is None:
            raise AssertionError("unreachable: it is a pipe")
        return self._process.stdout.readline()


def _environment(folder: Path) -> dict[str, str]:
    """Keep the machine's settings for dlt out."""
    kept = {name: value for name, value in os.environ.items() if "__" not in name and not name.startswith("DLT_")}
    return kept | QUICK | {"PYTHONPATH": str(REPOSITORY), "DLT_DATA_DIR": str(folder / "dlt-data")}


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--batches", type=int, default=200_000, help="ids of the long run (default: %(default)s)")
    options = parser.parse_args()
    try:
        short, long = soak(options.batches // 10), soak(options.batches)
    except NotAccountedForError as error:
        _say(f"FAILURE: {error}")
        return 1
    fetching, loading = long.fetched_mb / short.fetched_mb, long.loaded_mb / short.loaded_mb
    _say(
        f"soak: {options.batches:,} ids, each accounted for: {long.message}; {long.requests:,} requests,"
        f" {long.wall_s:.0f} s; at most {long.fetched_mb} MB until the load (with a tenth of the ids"
        f" {short.fetched_mb} MB: x {fetching:.2f}), {long.loaded_mb} MB with DuckDB's part of it (x {loading:.2f})"
    )
    if fetching > FLAT:
        _say(f"FAILURE: the memory grew more than x {FLAT}")
    return 1 if fetching > FLAT else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
