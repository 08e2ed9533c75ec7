"""The environments that the schedules and the backfill run in, each made by make from its lock when that is due."""

import os
import subprocess
from pathlib import Path

import pytest

from enrow_source.testing import SimulatedEnrow
from tests.support import REPOSITORY


def made(name: str) -> Path:
    subprocess.run(["make", "--silent", f".venv-{name}/.ready"], cwd=REPOSITORY, check=True)  # noqa: S607 - as a person does
    return REPOSITORY / f".venv-{name}" / "bin"


@pytest.fixture(scope="session")
def orchestration() -> Path:
    """The folder of commands with dagster and dask."""
    return made("orchestration")


@pytest.fixture(scope="session")
def airflow() -> Path:
    """The folder of commands with Airflow."""
    return made("airflow")


@pytest.fixture
def environ(api: SimulatedEnrow, tmp_path: Path) -> dict[str, str]:
    """What a scheduler gives the command: a key, an API, and a dlt folder of its own."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
        "DLT_DATA_DIR": str(tmp_path / "dlt"),
        "ENROW_API_KEY": api.api_key,
        "SOURCES__ENROW__ENROW_BASE_URL": api.url,
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.01",
    }
