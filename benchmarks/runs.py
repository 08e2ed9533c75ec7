"""Runs of competitors: each in a place of its own, and each checked before its time counts."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from .bodies import Totals, batch_id
from .environments import REPOSITORY, DuckDB, python_for
from .measure import MEGABYTE, Measured, RunFailedError, measure
from .served import Api

_FILE: Final = "warehouse.duckdb"
_NO_API: Final = Api(9)


def batch_ids(count: int, first: int = 0) -> list[str]:
    """Return the ids of `count` batches."""
    return [batch_id(number) for number in range(first, first + count)]


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with a database, and with the working files of what loads into it."""

    folder: Path
    duckdb: DuckDB = "1.5"

    @property
    def file(self) -> Path:
        """The database; dlt would take a relative path to be one in the folder that a copied pipeline began in."""
        return self.folder / _FILE

    def run(
        self,
        competitor: str,
        ids: Iterable[str] = (),
        api: Api = _NO_API,
        *,
        database: str = "",
        sample: bool = False,
    ) -> Measured:
        """Run `competitor` once, into the place's own database or another one."""
        configuration = self.folder / ".dlt" / "config.toml"
        configuration.unlink(missing_ok=True)
        if competitor == "ours_command":  # what a user of the repository has; the others get dlt's defaults
            configuration.parent.mkdir(exist_ok=True)
            shutil.copyfile(REPOSITORY / ".dlt" / "config.toml", configuration)
        text, file = "".join(f"{name}\n" for name in ids), self.folder / "ids.txt"
        if not file.exists() or file.read_text(encoding="utf-8") != text:  # where nothing is new, it stays as it is
            file.write_text(text, encoding="utf-8")
        module = f"benchmarks.competitors.{competitor}"
        command = [python_for(competitor, self.duckdb), "-m", module, api.url, "ids.txt", database or str(self.file)]
        return measure(command, self.folder, sample=sample)

    @property
    def megabytes(self) -> float:
        """Size of the database, in millions of bytes."""
        return self.file.stat().st_size / MEGABYTE

    def output(self) -> str:
        """Return what the last run wrote."""
        return (self.folder / "output.txt").read_text(encoding="utf-8")

    def ask(self, module: str, subject: str) -> Any:  # noqa: ANN401 - JSON as the module wrote it
        """Run one of the benchmark's modules on the database, and return what it prints."""
        asked = subprocess.run(  # noqa: S603 - our own modules
            [python_for("ours", self.duckdb), "-m", f"benchmarks.{module}", subject, str(self.file)],
            cwd=REPOSITORY,
            check=True,
            stdout=subprocess.PIPE,
        )
        return json.loads(asked.stdout or "null")

    def check(self, competitor: str, expected: Totals) -> None:
        """Compare what `competitor` has loaded.

        Raises:
            RunFailedError: It is not what was served.
        """
        loaded, wanted = self.ask("check", competitor), list(asdict(expected).values())
        if loaded != wanted[: len(loaded)]:
            raise RunFailedError(
                f"{competitor} loaded {loaded}, expected {wanted}: rows, batches, index, found, credits"
            )

    def copy_to(self, folder: Path) -> Place:
        """Copy everything to `folder`, which must not exist."""
        shutil.copytree(self.folder, folder)
        return Place(folder, self.duckdb)


@contextmanager
def place(duckdb: DuckDB = "1.5", *, copy_of: Place | None = None) -> Iterator[Place]:
    """Make a place for the time of a block: an empty one, or a copy."""
    with tempfile.TemporaryDirectory(prefix="enrow-bench-") as folder:
        if copy_of:
            yield copy_of.copy_to(Path(folder) / "copy")
        else:
            yield Place(Path(folder), duckdb)


def run_fresh(  # noqa: PLR0913 - what is run, on what, and what it must give
    competitor: str, ids: Sequence[str], api: Api, expected: Totals, duckdb: DuckDB = "1.5", *, sample: bool = False
) -> Measured:
    """Run `competitor` into an empty database, and check what it has loaded."""
    with place(duckdb) as empty:
        measured = empty.run(competitor, ids, api, sample=sample)
        empty.check(competitor, expected)
        return replace(measured, file_mb=empty.megabytes)


@dataclass(frozen=True, slots=True)
class Medians:
    """The medians of several runs of one thing."""

    runs: int
    cpu_s: float
    wall_s: float
    peak_mb: float
    file_mb: float

    @classmethod
    def of(cls, measured: Sequence[Measured]) -> Medians:
        """Take the median of each figure."""
        return cls(
            runs=len(measured),
            cpu_s=round(median(run.cpu_s for run in measured), 3),
            wall_s=round(median(run.wall_s for run in measured), 3),
            peak_mb=round(median(run.peak_mb for run in measured), 1),
            file_mb=round(median(run.file_mb for run in measured), 1),
        )


def medians(rounds: Iterable[Mapping[str, Measured]]) -> dict[str, Medians]:
    """Take the medians of every competitor over the rounds."""
    runs: dict[str, list[Measured]] = {}
    for measured in rounds:
        for name, run in measured.items():
            runs.setdefault(name, []).append(run)
    return {name: Medians.of(measured) for name, measured in runs.items()}
