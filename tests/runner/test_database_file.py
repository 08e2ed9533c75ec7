"""A file of DuckDB that cannot be used is named before dlt's advice, which is about credentials."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from enrow_source.cli import main

COMMANDS = ("run a", "check", "submissions", "erase --batch-id no-batch", "submit --people-file p.csv --dry-run")


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> tuple[int, str]:
    """What a command says of a file."""
    command, file = request.param
    monkeypatch.setenv("ENROW_API_KEY", "a-key")
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", file.format(folder=tmp_path))
    Path("p.csv").write_text("linkedin_url\nhttps://www.linkedin.com/in/a-person\n")
    code = main(command.split())
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.mark.parametrize("said", [(one, "{folder}/no/such/x.duckdb") for one in COMMANDS], indirect=True, ids=COMMANDS)
def test_a_folder_that_is_not_there(said: tuple[int, str], tmp_path: Path) -> None:
    """It was made, and the numbers were loaded into it."""
    assert said[0] == (1 if "ok      versions" in said[1] else 2)
    assert f"there is no folder {tmp_path}/no/such for the file of DuckDB" in said[1]
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("said", [("run a", "/proc/x.duckdb")], indirect=True)
def test_a_folder_that_takes_no_files(said: tuple[int, str]) -> None:
    """It was a traceback."""
    assert said[0] == 2
    assert "error: the lock /proc/x.duckdb.lock, which keeps runs apart, cannot be made: " in said[1]


def test_a_working_folder_that_takes_no_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was a traceback, too."""
    monkeypatch.setenv("DLT_DATA_DIR", "/proc/x")
    monkeypatch.setenv("ENROW_API_KEY", "a-key")
    assert main(["run", "a"]) == 2
    assert "/proc/x, the working folder of dlt, cannot be used: " in capsys.readouterr().err


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[None]:
    """A file that another program has open."""
    opened = f"import duckdb, time; kept = duckdb.connect('{tmp_path}/x.duckdb'); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", opened], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        yield
        other.kill()


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize("command", ["run a", "check", "erase --batch-id no-batch", "submissions"])
def test_a_file_that_another_program_has(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENROW_API_KEY", "a-key")
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(tmp_path / "x.duckdb"))
    assert main(command.split()) == 1
    printed = capsys.readouterr()
    assert "another program has the file of DuckDB open" in printed.out + printed.err
    assert "check if you configured the credentials" not in printed.out + printed.err
