"""A process that has imported everything and forks the runs, so that one costs a fraction of a second.

It has one thread, one of the operating system's too, and has opened nothing: what a run has is its own, and SIGKILL
ends it alone.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.support import REPOSITORY
from tests.support.quicker import make_runs_quicker

from . import child
from .child import Job
from .points import Kill, Point
from .submit_points import SubmitPoint

_LOADED_BEFORE: Final = (
    "tests.chaos.submit_hooks",
    "tests.chaos.hooks",
    "tests.chaos.plain",
    "dlt.common.libs.pyarrow",
    "enrow_source.cli.erase",
    "enrow_source.cli.run",
    "enrow_source.cli.submissions",
    "enrow_source.cli.submit",
    "pyarrow.dataset",
    "rich",
)
"""What takes the time of a start; without duckdb, which starts a thread."""
_DESTINATIONS: Final = {
    "psycopg2": "dlt.destinations.impl.postgres.postgres",
    "deltalake": "dlt.destinations.impl.filesystem.filesystem",
}
"""What is loaded before in an environment that has the package."""
_WITHOUT_THREADS: Final = {"JE_ARROW_MALLOC_CONF": "background_thread:false", "OPENBLAS_NUM_THREADS": "1"}
"""What keeps pyarrow and numpy from starting any when they are imported."""
_THREADS: Final = Path("/proc/self/task")
"""Where Linux lists the threads of a process."""
_TIMEOUT_S: Final = 120.0
_POLL_S: Final = 0.002
_TIMED_OUT: Final = -signal.SIGALRM
_SETTINGS: Final = ("SOURCES__", "RUNTIME__", "DESTINATION__", "EXTRACT__", "NORMALIZE__", "LOAD__", "DATA_WRITER__")
_OTHER_SETTINGS: Final = ("SCHEMA__", "PIPELINES__", "DLT_", "ENROW_", "API_KEY", "CREDENTIALS")


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """How a run ended."""

    returncode: int
    """Its exit code, or the number of the signal that ended it, negative."""
    stdout: str
    stderr: str
    stages: tuple[str, ...]
    """The steps that it began."""

    @property
    def is_killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.returncode == -signal.SIGKILL

    @property
    def has_timed_out(self) -> bool:
        """Whether it did not end by itself."""
        return self.returncode == _TIMED_OUT


class Forks:
    """Starts runs, one at a time, while the `with` block runs.

    Args:
        folder: A folder without settings, where it is started.
        package: Where `enrow_source` is imported from; by default this checkout.
    """

    def __init__(self, folder: Path, package: Path = REPOSITORY) -> None:
        self._folder = folder
        self._path = os.pathsep.join(map(str, (package, REPOSITORY)))
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start the process that forks."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith((*_SETTINGS, *_OTHER_SETTINGS))}
        environment |= {"PYTHONPATH": self._path, "DLT_DATA_DIR": str(self._folder)} | _WITHOUT_THREADS
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it; a run that is under way is killed."""
        if self._server is not None:
            self._server.communicate(timeout=_TIMEOUT_S)
            self._server = None

    def run(self, job: Job, when_halted: Callable[[], None] = lambda: None) -> ChildEnd:
        """Run one job to its end; `when_halted` is called while it is halted at its point by SIGSTOP."""
        if self._server is None or self._server.stdin is None or self._server.stdout is None:
            raise RuntimeError("jobs are run inside the with block")
        folder = Path(job.folder)
        print(json.dumps(asdict(job)), file=self._server.stdin, flush=True)
        for line in self._server.stdout:
            message = json.loads(line)
            if "halted" in message:
                when_halted()
                os.kill(message["halted"], signal.SIGCONT)
                continue
            stdout, stderr = (_read(folder / name) for name in ("stdout", "stderr"))
            stages = tuple(_read(folder / child.STAGES).split())
            return ChildEnd(message["returncode"], stdout, stderr, stages)
        raise RuntimeError("the process that forks the runs has ended")


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _serve() -> None:
    """Fork a run for each line of standard input, and tell on standard output how it ended."""
    destinations = [module for package, module in _DESTINATIONS.items() if find_spec(package) is not None]
    for module in (*_LOADED_BEFORE, *destinations):
        importlib.import_module(module)
    make_runs_quicker()
    if _THREADS.exists() and (count := len([*_THREADS.iterdir()])) != 1:
        raise RuntimeError(f"a fork copies one thread, and here are {count}")
    for line in sys.stdin:
        job = _job(json.loads(line))
        (Path(job.folder) / child.STAGES).unlink(missing_ok=True)
        if (pid := os.fork()) == 0:
            os.close(0)
            child.run(job)
        _record_outcome(returncode=_wait(pid, job))


def _record_outcome(**what: int) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _job(fields: dict[str, Any]) -> Job:
    kill = fields.pop("kill")
    return Job(**fields, kill=kill and Kill(**kill | {"point": _point(kill["point"])}))


def _point(value: str) -> Point | SubmitPoint:
    return SubmitPoint(value) if value in list(SubmitPoint) else Point(value)


def _wait(pid: int, job: Job) -> int:
    started, kill_at = time.monotonic(), math.inf
    by_clock = job.kill is not None and job.kill.point is Point.CLOCK
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if ended and os.WIFSTOPPED(status):
            _record_outcome(halted=pid)
        elif ended:
            return os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        if by_clock and job.kill and kill_at == math.inf and _has_begun(job):
            kill_at = now + job.kill.after_s
        # Until it is waited for, the number cannot be another process's.
        if now > kill_at:
            os.kill(pid, signal.SIGKILL)
        if now > started + _TIMEOUT_S:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return _TIMED_OUT
        time.sleep(_POLL_S)


def _has_begun(job: Job) -> bool:
    file = Path(job.folder) / child.STAGES
    return file.exists() and file.stat().st_size > 0


if __name__ == "__main__":
    _serve()
