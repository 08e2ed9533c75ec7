"""The command `enrow`: called in this process, or started as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from enrow_source.testing import SimulatedEnrow

Ended: TypeAlias = subprocess.CompletedProcess[str]
Command: TypeAlias = Callable[..., Ended]


def enrow(*arguments: str) -> list[str]:
    """Return the command line of a process."""
    return [sys.executable, "-m", "enrow_source", *arguments]


def environ(folder: Path, api: SimulatedEnrow, **more: str) -> dict[str, str]:
    """Return the variables of a process that works in `folder` and reads the simulated API."""
    return {
        "PATH": os.environ["PATH"],
        "DLT_DATA_DIR": str(folder / "dlt"),
        "ENROW_API_KEY": api.api_key,
        "SOURCES__ENROW__ENROW_BASE_URL": api.url,
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        **more,
    }


def called(main: Callable[[Sequence[str]], int], arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> Ended:
    """Call a command in this process, which is quicker; argparse ends by SystemExit."""
    try:
        code = main(arguments)
    except SystemExit as error:
        code = int(error.code or 0)
    printed = capsys.readouterr()
    return subprocess.CompletedProcess(arguments, code, printed.out, printed.err)
