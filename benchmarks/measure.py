"""Runs a competitor as a process of its own, and measures all of it: CPU, wall time and the most memory it held.

The harness itself has to stay small: Linux counts the memory that a process held before it became the competitor.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final

from .environments import REPOSITORY

_SAMPLE_S: Final = 0.1
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
MEGABYTE: Final = 1_000_000


class RunFailedError(Exception):
    """A competitor ended with an error, or loaded something else than it should."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process took."""

    cpu_s: float
    """User and system, of the process and of those it waited for."""
    wall_s: float
    peak_mb: float
    """Most resident memory, in millions of bytes."""
    file_mb: float = 0.0
    """What it has loaded takes so much in the DuckDB file, where it loads into an empty one."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the start and resident megabytes, where it was asked for."""


def measure(command: Sequence[str], folder: Path, *, sample: bool = False) -> Measured:
    """Run `command` in `folder` to its end; `sample` also records its memory over time.

    Raises:
        RunFailedError: It did not succeed; shows the end of what it wrote.
    """
    with (folder / "output.txt").open("wb+") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, env=_environment(folder), stdout=output, stderr=output)  # noqa: S603 - our own competitors
        ended = Event()
        samples: list[tuple[float, float]] = []
        sampler = Thread(target=_sample, args=(process.pid, started, ended, samples))
        if sample:
            sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        if sample:
            sampler.join()
        if process.returncode:
            output.seek(0)
            text = output.read().decode(errors="replace")[-3000:]
            raise RunFailedError(f"{' '.join(command[1:3])} ended with {process.returncode}:\n{text}")
    return Measured(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024 / MEGABYTE, memory=samples)


def _environment(folder: Path) -> dict[str, str]:
    """Keep the machine's settings for dlt out; what a competitor sets itself is in its module."""
    kept = {
        name: value
        for name, value in os.environ.items()
        # Of Python too: where it is set to write no bytecode, it would compile this package in every run.
        if "__" not in name and not name.startswith(("DLT_", "PYTHON"))
    }
    return kept | {
        "PYTHONPATH": str(REPOSITORY),
        "DLT_DATA_DIR": str(folder / "dlt-data"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }


def _sample(pid: int, started: float, ended: Event, samples: list[tuple[float, float]]) -> None:
    statm = Path(f"/proc/{pid}/statm")
    while not ended.wait(_SAMPLE_S):
        with suppress(OSError, IndexError):
            pages = int(statm.read_text(encoding="ascii").split()[1])
            samples.append((time.monotonic() - started, pages * _PAGE_BYTES / MEGABYTE))
