"""The wheel, as a user installs it: built from the checkout, in an empty environment, loading a bulk search."""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from enrow_source.testing import SimulatedEnrow, bodies

REPO = Path(__file__).parent.parent
LOCK = REPO / "requirements" / "dev.txt"

SNIPPET = """
import json
import sys
from importlib.util import find_spec

import dlt

from enrow_source import enrow_source

batch_id, url, key = sys.argv[1:]
source = enrow_source(batch_ids=[batch_id], enrow_api_key=key, enrow_base_url=url)
dlt.pipeline("enrow", destination="duckdb", dataset_name="enrow_data").run(source)

import enrow_source as package

print(
    json.dumps(
        {
            "imported_from": package.__file__,
            "pandas_imported": "pandas" in sys.modules,
            "pandas_installed": find_spec("pandas") is not None,
        }
    )
)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    called(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=REPO)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an empty environment, in the locked versions; return its interpreter."""
    folder = tmp_path_factory.mktemp("environment")
    uv("venv", "--quiet", "--python", sys.executable, str(folder))
    python = folder / "bin" / "python"
    install = ("pip", "install", "--quiet", "--python", str(python), "--constraint", str(LOCK), str(wheel))
    # What `make test` installed is in uv's cache; only where that was emptied the index has to be asked.
    if uv(*install, "--offline", check=False).returncode != 0:
        ended = uv(*install, check=False)
        assert ended.returncode == 0, (
            f"the wheel could not be installed, neither from uv's cache nor from the index: {ended.stderr}\n"
            "`make clean test` fills the cache anew; the index is the one that pip is configured with."
        )
    return python


@pytest.fixture
def api() -> Iterator[SimulatedEnrow]:
    with SimulatedEnrow() as running:
        yield running


def called(
    *command: str, cwd: Path, check: bool = True, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert not check or ended.returncode == 0, f"{' '.join(command)}: {ended.stdout}{ended.stderr}"
    return ended


def uv(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Call uv as the Makefile does: with the index that pip is configured with, for that is what its cache is of."""
    env = {**os.environ, "UV_SYSTEM_CERTS": "true"}
    env.setdefault("UV_DEFAULT_INDEX", pip_index())
    return called(sys.executable, "-m", "uv", *arguments, cwd=REPO, check=check, env=env)


def pip_index() -> str:
    configured = called(sys.executable, "-m", "pip", "config", "list", cwd=REPO).stdout
    settings = dict(line.split("=", 1) for line in configured.splitlines())
    return next((value.strip("'") for name, value in settings.items() if name.endswith(".index-url")), "")


def in_environment(python: Path, folder: Path, *arguments: str) -> str:
    """Run the new environment's interpreter with nothing of this one's, and nothing of the checkout."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    return called(str(python), *arguments, cwd=folder, env=env).stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    files = zipfile.ZipFile(wheel).namelist()
    assert "enrow_source/py.typed" in files
    assert "enrow_source/testing/__main__.py" in files
    assert {name.split("/")[0].split("-")[0] for name in files} == {"enrow_source"}


def test_the_installed_wheel_loads_a_batch(installed: Path, api: SimulatedEnrow, tmp_path: Path) -> None:
    script = tmp_path / "load.py"
    script.write_text(SNIPPET)
    batch_id = api.add_documented()
    message = json.loads(in_environment(installed, tmp_path, str(script), batch_id, api.url, api.api_key))

    environment = installed.parent.parent
    assert Path(message["imported_from"]).is_relative_to(environment)
    assert (Path(message["imported_from"]).parent / "py.typed").is_file()
    assert not message["pandas_imported"]
    assert not message["pandas_installed"]
    with duckdb.connect(str(tmp_path / "enrow.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT batch_id, index, qualification, number, country FROM enrow_data.phone_results ORDER BY index"
        ).fetchall()
        batches = connection.execute("SELECT batch_id, status FROM enrow_data.batches").fetchall()
    assert rows == [
        (bodies.DOCUMENTED_ID, 0, "found", "+15705551234", "US"),
        (bodies.DOCUMENTED_ID, 1, "found", "+15705555678", "US"),
    ]
    assert batches == [(bodies.DOCUMENTED_ID, "completed")]
    assert [request.batch_id for request in api.requests] == [bodies.DOCUMENTED_ID]


def test_the_simulated_api_comes_with_the_wheel(installed: Path, tmp_path: Path) -> None:
    assert "python -m enrow_source.testing" in in_environment(
        installed, tmp_path, "-m", "enrow_source.testing", "--help"
    )


def test_the_new_environment_has_the_locked_versions(installed: Path) -> None:
    # name[extras]==version, without the extras
    locked = {"".join(found) for found in re.findall(r"^([\w.-]+)(?:\[.*?\])?(==\S+)", LOCK.read_text(), re.MULTILINE)}
    present = {line for line in uv("pip", "freeze", "--python", str(installed)).stdout.splitlines() if "==" in line}
    assert "dlt==1.31.0" in present
    assert present <= locked
