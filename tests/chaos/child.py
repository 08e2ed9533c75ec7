"""The run itself: a command of `enrow`, or a plain `pipeline.run`, as one process after another becomes it."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from .points import Kill

PLAIN: Final = "plain"
"""The command that is none of `enrow`'s: `pipeline.run`, as `plain` has it."""
STAGES: Final = "stages"
"""A file in the folder of a run: the steps that it began, a line each."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the command in a process of its own."""

    folder: str
    """Its working directory; `stdout`, `stderr` and `stages` are written there."""
    arguments: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    kill: Kill | None = None
    signal: int = signal.SIGKILL
    """What it sends to itself at the point; SIGSTOP halts it there."""
    file_limit_bytes: int | None = None
    """The most that a file may have, as on a disk that is full."""
    command: str = "run"
    """The one of `enrow`'s that it runs, or `PLAIN`."""


def run(job: Job) -> NoReturn:
    """Become the command: its folder, its environment, its output; ends the process with its exit code."""
    os.chdir(job.folder)
    for number, name in (1, "stdout"), (2, "stderr"):
        os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644), number)
    os.environ.update(job.environment)
    stages = os.open(STAGES, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    # Loaded before the fork, by `forks`; nobody else who knows of `Job` needs dlt for that.
    from dlt.common.configuration.container import Container  # noqa: PLC0415
    from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext  # noqa: PLC0415

    from . import hooks, submit_hooks  # noqa: PLC0415

    Container()[PluggableRunContext].reload()  # dlt has read the settings of the folder that it was imported in
    hooks.note_stages(stages)
    submit_hooks.note_submission(stages)
    if job.kill is not None:
        hooks.arm(job.kill, job.signal)
    if job.file_limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.file_limit_bytes, job.file_limit_bytes))
    package = "tests.chaos" if job.command == PLAIN else "enrow_source.cli"
    sys.exit(importlib.import_module(f"{package}.{job.command}").main(job.arguments))
