"""What a person sees of a run under way: a bar on a real terminal, lines through a pipe."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import Progress, enrow_source
from enrow_source.cli import main
from enrow_source.cli.progress import Lines
from enrow_source.runner.report import ExitCode
from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.support.command import Ended, enrow, environ

COLUMNS = 80


def command(tmp_path: Path, api: SimulatedEnrow, *arguments: str) -> dict[str, Any]:
    return {
        "args": enrow("run", *arguments),
        "cwd": tmp_path,
        "env": environ(tmp_path, api, TERM="xterm", COLUMNS=str(COLUMNS)),
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "text": True,
    }


def on_a_terminal(tmp_path: Path, api: SimulatedEnrow, *arguments: str) -> Ended:
    """Run the command with a pseudo-terminal as its standard error."""
    ours, theirs = pty.openpty()
    written: list[bytes] = []
    reading = threading.Thread(target=lambda: written.extend(_read(ours)))
    with subprocess.Popen(**command(tmp_path, api, *arguments), stderr=theirs) as running:
        os.close(theirs)
        reading.start()
        assert running.stdout is not None
        stdout = running.stdout.read()
    reading.join(timeout=10)
    os.close(ours)
    return subprocess.CompletedProcess(running.args, running.returncode, stdout, b"".join(written).decode())


def _read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux's end of a terminal that nobody writes to any more
            return
        if not chunk:
            return
        yield chunk


def rendered(written: str) -> list[str]:
    """Return the lines that are left on the screen."""
    lines = (line.rsplit("\x1b[2K", 1)[-1] for line in re.split(r"\r*\n", written))
    return [line for line in (re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line).rstrip() for line in lines) if line]


@pytest.fixture
def ids(api: SimulatedEnrow) -> list[str]:
    odd = bodies.completed("odd", 3) | {"general": {"id": "odd", "status": "ongoing"}}
    return [
        *(api.add_completed(f"done-{n}", 10) for n in range(3)),
        api.add_ongoing("running", None, 5),
        api.respond("odd", odd),
        api.respond("slow", Response(body=bodies.completed("slow", 10), delay_s=0.7)),
    ]


def test_a_bar_on_a_terminal(tmp_path: Path, api: SimulatedEnrow, ids: list[str]) -> None:
    shown = on_a_terminal(tmp_path, api, *ids)
    assert shown.returncode == ExitCode.OK
    under_way = re.sub(r"\x1b\[[0-9;]*m", "", shown.stderr)
    assert re.search(r"batches ━+[╸╺]?━* 5/6 2 ongoing, 30 rows, [\d,]+ rows/s 0:00:\d\d", under_way)
    lines = rendered(shown.stderr)
    # The warning came while the bar was there, and has lines of its own.
    assert [line for line in lines if "not loaded" in line] == ["results of 'odd' are not loaded: it is 'ongoing'"]
    batches, normalized, loaded = lines[-3:]
    assert re.fullmatch(r"batches ━+ 6/6 2 ongoing, 40 rows, [\d,]+ rows/s 0:00:00", batches)
    assert re.fullmatch(r"normalizing, files ━+ (\d+)/\1  0:00:00", normalized)
    assert re.fullmatch(r"loading, files ━+ (\d+)/\1  0:00:00", loaded)
    assert max(map(len, lines)) <= COLUMNS
    assert "fetched                  6" in shown.stdout.splitlines()


@pytest.mark.slow
def test_no_bar_where_the_log_is_json(tmp_path: Path, api: SimulatedEnrow, ids: list[str]) -> None:
    shown = on_a_terminal(tmp_path, api, *ids, "--log-format", "json")
    assert [json.loads(line)["level"] for line in shown.stderr.splitlines()] == ["WARNING"]


def test_nothing_of_a_short_run_through_a_pipe(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    assert main(["run", api.add_completed("done", 3), "--base-url", api.url]) == ExitCode.OK
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("as_json", [False, True])
def test_lines_through_a_pipe(
    tmp_path: Path, api: SimulatedEnrow, ids: list[str], capfd: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    load(tmp_path, api, ids, Lines(as_json=as_json, every_s=0.5).note)
    (line,) = (line for line in capfd.readouterr().err.splitlines() if "not loaded" not in line)
    if not as_json:
        assert re.fullmatch(r"6 of 6 batches, 2 ongoing, 40 rows, \d\d rows/s, 0 s left", line)
        return
    message = json.loads(line)
    assert {"due": 6, "fetched": 6, "ongoing": 2, "rows": 40, "left_s": 0.0}.items() <= message.items()
    assert message["rows_per_s"] == pytest.approx(40 / message["seconds"])
    assert (message["level"], message["message"]) == ("INFO", "progress")


def test_a_line_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(as_json=False)
    for fetched in range(101):
        lines.note(Progress(1000, fetched, 1, 50 * fetched, seconds=float(fetched)))
    assert capsys.readouterr().err.splitlines() == [
        "30 of 1,000 batches, 1 ongoing, 1,500 rows, 50 rows/s, 970 s left",
        "60 of 1,000 batches, 1 ongoing, 3,000 rows, 50 rows/s, 940 s left",
        "90 of 1,000 batches, 1 ongoing, 4,500 rows, 50 rows/s, 910 s left",
    ]


@pytest.mark.slow
def test_progress_comes_in_the_runs_thread(tmp_path: Path, api: SimulatedEnrow, ids: list[str]) -> None:
    """The progress callback is called for each batch, in the thread of the run."""
    message: list[Progress] = []
    threads: set[threading.Thread] = set()

    def progress(fetches: Progress) -> None:
        message.append(fetches)
        threads.add(threading.current_thread())

    load(tmp_path, api, [*ids, "nobody-knows"], progress)
    assert message[0] == Progress(due=7)
    assert message[0].left_s is None
    assert [fetches.fetched for fetches in message] == list(range(8))
    assert (message[-1].ongoing, message[-1].rows, message[-1].left_s) == (2, 40, 0.0)
    assert threads == {threading.current_thread()}
    api.add_completed("done-3", 10)
    message.clear()
    load(tmp_path, api, [*ids, "done-3"], progress)
    assert message[0].due == 3, "what was loaded before is not due"


def test_what_it_raises_ends_the_run(tmp_path: Path, api: SimulatedEnrow, ids: list[str]) -> None:
    def progress(_: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(PipelineStepFailed) as caught:
        load(tmp_path, api, ids, progress)
    assert "ZeroDivisionError" in "".join(traceback.format_exception(caught.value))


def load(tmp_path: Path, api: SimulatedEnrow, ids: list[str], progress: Callable[[Progress], None]) -> None:
    destination = dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb"))
    pipeline = dlt.pipeline("progress", destination=destination, pipelines_dir=str(tmp_path / "pipelines"))
    pipeline.run(enrow_source(ids, enrow_api_key=api.api_key, enrow_base_url=api.url, progress=progress))
