"""The wheel, as a user installs it: built from the checkout, in an empty environment, loading a bulk search."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import duckdb
import pytest
from packaging.requirements import Requirement

from enrow_source.testing import SimulatedEnrow, bodies
from tests.support import REPOSITORY
from tests.support.uv import uv, uv_cached
from tests.support.wheel import LOCK, Installation, InstalledWith

pytest_plugins = ("tests.support.wheel",)

LOAD = """
import sys

import dlt

from enrow_source import enrow_source

batch_id, url, key, file = sys.argv[1:]
pipeline = dlt.pipeline("enrow", destination=dlt.destinations.duckdb(file), dataset_name="enrow_data")
pipeline.run(enrow_source(batch_ids=[batch_id], enrow_api_key=key, enrow_base_url=url))
"""

DESCRIBE = """
import json
from importlib.util import find_spec

import enrow_source as package

about = {
    "imported_from": package.__file__,
    "pandas_imported": "pandas" in sys.modules,
    "pandas_installed": find_spec("pandas") is not None,
}
print(json.dumps(about))
"""

READ_ARROW = """
table = pipeline.dataset().phone_results.arrow()
print(table.column("number").to_pylist())
"""

READ_FRAME = """
frame = pipeline.dataset().phone_results.df()
print(frame["number"].to_list())
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone of this repository, as far as `dlt init` reads it."""
    folder = tmp_path / "repository"
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "pipelines", folder / "pipelines", ignore=leave_out)
    shutil.copy(REPOSITORY / "sources", folder, follow_symlinks=False)
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@enrow.example", "-c", "commit.gpgsign=false")
    for arguments in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "A")):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    return folder


def load(installed: Installation, api: SimulatedEnrow, folder: Path, then: str) -> str:
    """Load the documented batch into `warehouse.duckdb` as a script of a user does; return what the script prints."""
    script = folder / "load.py"
    script.write_text(LOAD + then)
    arguments = (str(script), api.add_documented(), api.url, api.api_key, "warehouse.duckdb")
    return installed.run(folder, "python", *arguments).stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    files = zipfile.ZipFile(wheel).namelist()
    assert "enrow_source/py.typed" in files
    assert "enrow_source/testing/__main__.py" in files
    assert {name.split("/")[0].split("-")[0] for name in files} == {"enrow_source"}


def test_a_script_loads_a_batch(installed: Installation, api: SimulatedEnrow, tmp_path: Path) -> None:
    about = json.loads(load(installed, api, tmp_path, DESCRIBE))

    assert Path(about["imported_from"]).is_relative_to(installed.folder)
    assert (Path(about["imported_from"]).parent / "py.typed").is_file()
    assert not about["pandas_imported"]
    assert not about["pandas_installed"]
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
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


@pytest.mark.slow
@pytest.mark.parametrize("extra, read", [("", READ_ARROW), ("pandas", READ_FRAME)], ids=["arrow", "df"])
def test_dlt_reads_what_it_loaded(
    extra: str, read: str, installed_with: InstalledWith, api: SimulatedEnrow, tmp_path: Path
) -> None:
    """dlt's reads fail where the versions of DuckDB, sqlglot or pandas do not fit; its loads do not show that."""
    assert load(installed_with(extra), api, tmp_path, read) == "['+15705551234', '+15705555678']\n"


def test_the_command_loads_a_batch(installed: Installation, api: SimulatedEnrow, tmp_path: Path) -> None:
    arguments = ("run", api.add_documented(), "--base-url", api.url)
    installed.run(tmp_path, "enrow", *arguments, env={"ENROW_API_KEY": api.api_key})
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute("SELECT number FROM enrow_data.phone_results ORDER BY index").fetchall()
    assert rows == [("+15705551234",), ("+15705555678",)]


@pytest.mark.parametrize("command", [("enrow",), ("python", "-m", "enrow_source")], ids=["command", "module"])
def test_it_prints_its_version(command: tuple[str, ...], installed: Installation, wheel: Path, tmp_path: Path) -> None:
    """The command and the module print the version of the wheel."""
    _, version, *_ = wheel.name.split("-")
    assert installed.run(tmp_path, *command, "--version").stdout == f"enrow {version}\n"


@pytest.mark.slow
def test_uvx_runs_it_without_installing(wheel: Path) -> None:
    """As `uvx --from PATH enrow` does, and `pipx run --spec PATH enrow`."""
    arguments = ("--quiet", "--isolated", "--constraints", str(LOCK), "--from", str(wheel))
    assert uv_cached("tool", "run", *arguments, "enrow", "--version").startswith("enrow ")


@pytest.mark.slow
def test_dlt_init_makes_a_project(
    installed: Installation, repository: Path, api: SimulatedEnrow, tmp_path: Path
) -> None:
    """`dlt init` wants `sources/<source>/*.py` and `sources/<source>_pipeline.py`, which calls `dlt.pipeline`."""
    arguments = ("--non-interactive", "init", "enrow", "duckdb", "--location", str(repository))
    installed.run(tmp_path, "dlt", *arguments)
    assert (tmp_path / "requirements.txt").read_text().splitlines() == ["dlt[duckdb]<2,>=1.31", "enrow-source"]
    secrets = (tmp_path / ".dlt" / "secrets.toml").read_text()
    assert secrets.startswith("[sources.enrow]\nenrow_api_key = ")

    (tmp_path / ".dlt" / "secrets.toml").write_text(f'[sources.enrow]\nenrow_api_key = "{api.api_key}"')
    (tmp_path / "ids.txt").write_text(api.add_documented())
    shown = installed.run(tmp_path, "python", "enrow_pipeline.py", env={"SOURCES__ENROW__ENROW_BASE_URL": api.url})
    assert re.search(r"rows loaded +2 +phone_results$", shown.stdout, re.MULTILINE)


@pytest.mark.slow
def test_dlt_init_asks_for_the_package(repository: Path, tmp_path: Path) -> None:
    without = Installation(tmp_path / "without")
    uv("venv", "--quiet", "--python", sys.executable, str(without.folder))
    uv_cached("pip", "install", "--quiet", "--python", str(without.python), "--constraint", str(LOCK), "dlt[duckdb]")
    arguments = ("--non-interactive", "init", "enrow", "duckdb", "--location", str(repository))
    ended = without.run(tmp_path, "dlt", *arguments, check=False)
    assert ended.returncode != 0
    assert "pip install enrow-source" in ended.stdout + ended.stderr


def test_the_simulated_api_comes_with_the_wheel(installed: Installation, tmp_path: Path) -> None:
    ended = installed.run(tmp_path, "python", "-m", "enrow_source.testing", "--help")
    assert "python -m enrow_source.testing" in ended.stdout


def test_the_new_environment_has_the_locked_versions(installed: Installation) -> None:
    # name[extras]==version, without the extras
    locked = {"".join(found) for found in re.findall(r"^([\w.-]+)(?:\[.*?\])?(==\S+)", LOCK.read_text(), re.MULTILINE)}
    present = {line for line in uv("pip", "freeze", "--python", str(installed.python)).splitlines() if "==" in line}
    assert "dlt==1.31.0" in present
    assert present <= locked


def test_one_duckdb_everywhere(installed: Installation) -> None:
    """A file that a newer DuckDB wrote cannot be opened with an older one, and pip takes the newest that is allowed."""
    (info,) = installed.folder.glob("lib/python*/site-packages/enrow_source-*.dist-info")
    required = [Requirement(line) for line in PathDistribution(info).requires or []]
    (bound,) = [requirement.specifier for requirement in required if requirement.name == "duckdb"]
    locked = {
        file.stem: re.findall(r"^duckdb==(\S+)", file.read_text(), re.MULTILINE)
        for file in (REPOSITORY / "requirements").glob("*.txt")
        if not file.stem.endswith("-duckdb2")  # what the bound excludes, to know when it can go
    }
    assert "2.0.0" not in bound
    assert {version.rsplit(".", 1)[0] for versions in locked.values() for version in versions} == {"1.5"}
    assert all(bound.contains(version) for versions in locked.values() for version in versions)
    assert {"dev", "dbt", "orchestration"} <= {name for name, versions in locked.items() if versions}
