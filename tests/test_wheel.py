"""The wheel, as a user installs it: built from the checkout, in an empty environment, loading a bulk search."""

import json
import re
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import duckdb
import pytest
from packaging.requirements import Requirement

from enrow_source.testing import SimulatedEnrow, bodies
from tests.support.uv import REPOSITORY, uv, uv_cached
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
def test_it_tells_its_version(command: tuple[str, ...], installed: Installation, wheel: Path, tmp_path: Path) -> None:
    _, version, *_ = wheel.name.split("-")
    assert installed.run(tmp_path, *command, "--version").stdout == f"enrow {version}\n"


def test_uvx_runs_it_without_installing(wheel: Path) -> None:
    """As `uvx --from PATH enrow` does, and `pipx run --spec PATH enrow`."""
    arguments = ("--quiet", "--isolated", "--constraints", str(LOCK), "--from", str(wheel))
    assert uv_cached("tool", "run", *arguments, "enrow", "--version").startswith("enrow ")


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
