"""A file of DuckDB, which one process at a time can open: each command waits for who has it, and says so."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

from enrow_source.cli import main
from enrow_source.destination import file_lock
from enrow_source.testing import SimulatedEnrow

HOLDER = """
import sys, duckdb, dlt
from pathlib import Path
from threading import Timer
from enrow_source.destination.load_lock import held_database
pipeline = dlt.pipeline("other", destination=dlt.destinations.duckdb("warehouse.duckdb"), pipelines_dir="other")
with held_database(pipeline), duckdb.connect("warehouse.duckdb"):
    print(flush=True)
    sys.stdin.read()
"""
COMMANDS = {
    "run": "run batch-1",
    "run of what was submitted": "run",
    "submit": "submit --people-file leads.csv --max-credits 40",
    "dry run": "submit --people-file leads.csv --dry-run",
    "query": "submit --people-query SELECT --max-credits 40",
    "submissions": "submissions",
    "resolve": "submissions resolve 8d2e --not-accepted",
    "check": "check",
    "erase": "erase --batch-id batch-1 --execute",
    "hide": "erase --existing",
}


class Clock:
    """Half an hour of waiting takes no time."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, _: float) -> None:
        self.now += 60.0


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which is at work in the file until its input ends."""
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        if process.stdin is not None:
            process.stdin.close()


@pytest.fixture
def settings(api: SimulatedEnrow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
    monkeypatch.setenv("SOURCES__ENROW__PII", "drop")
    monkeypatch.setenv("SOURCES__ENROW__PII_SECRET", "a secret of the tests")
    (tmp_path / "leads.csv").write_text("linkedin_url\nhttps://www.linkedin.com/in/alma-marlow\n", encoding="utf-8")


@pytest.mark.usefixtures("other", "settings")
def test_each_command_says_who_is_at_work(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never the words of a driver about a lock; and nothing was sent."""
    monkeypatch.setattr(file_lock, "time", Clock())
    ended = {}
    for name, command in COMMANDS.items():
        arguments = [part.replace("SELECT", "SELECT 'x' AS linkedin_url") for part in command.split()]
        code = main(arguments)
        printed = capsys.readouterr()
        lines = (printed.out if name == "check" else printed.err).splitlines()
        ended[name] = code, any("another run has been at work in this dataset for more than" in one for one in lines)
    assert ended == dict.fromkeys(COMMANDS, (1, True))
    assert [request.path for request in api.requests] == ["/account/info"]


@pytest.mark.usefixtures("settings")
def test_a_second_submitter_waits(
    other: subprocess.Popen[bytes], api: SimulatedEnrow, logged: pytest.LogCaptureFixture
) -> None:
    """It goes on once the other run has ended, and the log says what it waits for."""
    assert other.stdin is not None
    timer = Timer(0.5, other.stdin.close)
    timer.start()
    assert main(["submit", "--people-file", "leads.csv", "--max-credits", "40"]) == 0
    assert len(api.accepted) == 1
    assert "another run is at work, and has" in logged.text
