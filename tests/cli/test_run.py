"""The pipeline as a team runs it: the command, its exit codes, what it prints, and the demo."""

import io
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from enrow_source import cli, enrow_source
from enrow_source.cli.run import main
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.runner.recover import recover_pending_loads
from enrow_source.runner.report import ExitCode
from enrow_source.runner.run import run
from enrow_source.testing import Response, SimulatedEnrow
from tests.support import REPOSITORY, faults_page
from tests.support.command import Command, Ended, called, enrow, environ
from tests.support.faults_page import Seen


@pytest.fixture
def simulated() -> Iterator[SimulatedEnrow]:
    with SimulatedEnrow() as api:
        yield api


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, with nothing of the developer's configuration."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(free_command: Command, held_open: None) -> Command:  # noqa: ARG001 - it is open meanwhile
    """Run the command in this process while its DuckDB file is open."""
    return free_command


@pytest.fixture
def free_command(
    folder: Path, simulated: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run the command in this process, with the key and the URL of the simulated API."""
    monkeypatch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
    monkeypatch.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.01")
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", simulated.url)

    def run_command(*arguments: str, stdin: str = "", key: str = simulated.api_key) -> Ended:
        monkeypatch.setenv("ENROW_API_KEY", key)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        return called(main, arguments, capsys)

    return run_command


def query(file: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(file)) as connection:
        return connection.execute(sql).fetchall()


def test_the_command_loads_the_given_ids(folder: Path, simulated: SimulatedEnrow, command: Command) -> None:
    """The command loads the given ids and prints a summary."""
    ids = [simulated.add_completed("done", 20), simulated.add_ongoing("running", 1, 5), simulated.add_failed("bad")]
    ended = command(*ids)
    assert (ended.returncode, ended.stderr) == (ExitCode.OK, "")
    assert ended.stdout.splitlines() == [
        "fetched                  3",
        "completed                1",
        "still ongoing            1",
        "failed                   1",
        "rows loaded              3  batch_stats",
        "rows loaded              3  batches",
        "rows loaded             20  phone_results",
        "rows loaded              3  phone_results_ledger",
        f"in warehouse (duckdb:///{folder}/warehouse.duckdb), dataset enrow_data",
    ]
    counts = query(folder / "warehouse.duckdb", "SELECT count(*) FROM enrow_data.phone_results")
    assert counts == [(20,)]


@pytest.mark.slow
def test_ids_come_from_files_and_from_standard_input(folder: Path, simulated: SimulatedEnrow, command: Command) -> None:
    for name in ("a", "b", "c", "d"):
        simulated.add_completed(name, 1)
    (folder / "one.txt").write_text("b\n\n  c  \nb\n", encoding="utf-8-sig")
    ended = command("a", "--batch-ids-file", "one.txt", "--batch-ids-file", "-", stdin="d\r\n")
    assert ended.returncode == ExitCode.OK, ended.stderr
    assert query(folder / "warehouse.duckdb", "SELECT batch_id FROM enrow_data.batches ORDER BY 1") == [
        ("a",),
        ("b",),
        ("c",),
        ("d",),
    ]


def test_a_batch_that_cannot_be_read_gives_exit_code_3(simulated: SimulatedEnrow, command: Command) -> None:
    ended = command(simulated.add_completed("done", 1), "nobody-knows")
    assert ended.returncode == ExitCode.PARTIAL
    assert "could not be read        1" in ended.stdout.splitlines()


def test_pending_fetches_what_was_ongoing(simulated: SimulatedEnrow, command: Command) -> None:
    """`--pending` alone fetches what was ongoing."""
    command(simulated.add_ongoing("running", 1, 5), simulated.add_completed("done", 1))
    ended = command("--pending")
    assert (ended.returncode, simulated.fetches("running"), simulated.fetches("done")) == (ExitCode.OK, 2, 1)


def test_only_the_tables_that_are_named(folder: Path, simulated: SimulatedEnrow, command: Command) -> None:
    ended = command(simulated.add_completed("done", 1), "--tables", "batches")
    assert ended.returncode == ExitCode.OK
    tables = query(
        folder / "warehouse.duckdb",
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = 'enrow_data' AND NOT starts_with(table_name, '_dlt')",
    )
    assert sorted(tables) == [("account_credits",), ("batches",), ("enrow_runs",)]


@pytest.mark.parametrize(
    "arguments,key,code,message",
    [
        ((), "key", ExitCode.USAGE, "no batch ids: name some, or --batch-ids-file, --batch-ids-query"),
        (("--batch-ids-file", "missing.txt"), "key", ExitCode.USAGE, "missing.txt"),
        (("some-id", "--max-batches", "0"), "key", ExitCode.USAGE, "--max-batches is 0: set it to more than 0"),
        (("some-id", "--base-url", "http://api.enrow.example"), "key", ExitCode.USAGE, "use https"),
        (("some-id",), "", ExitCode.USAGE, "set enrow_api_key under [sources.enrow]"),
        (("some-id",), "wrong", ExitCode.FAILED, "the API refused the key (This apikey is not valid)"),
        (("some-id", "--tables", "nonsense"), "key", ExitCode.USAGE, "nonsense"),
        (("some-id", "--destination", "nonsense"), "key", ExitCode.USAGE, "nonsense"),
    ],
)
def test_error_is_one_line_with_its_fix(
    command: Command, arguments: tuple[str, ...], key: str, code: ExitCode, message: str
) -> None:
    """An error is one line that says what to do."""
    ended = command(*arguments, key=key)
    assert ended.returncode == code, ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.stdout


@pytest.mark.usefixtures("held_open")
def test_pending_package_of_a_kill_is_loaded_first(folder: Path, simulated: SimulatedEnrow) -> None:
    """The package that a killed run left is loaded first."""
    pipeline = build_pipeline(pipelines_dir=str(folder / "pipelines"))
    options: dict[str, Any] = {"enrow_api_key": simulated.api_key, "enrow_base_url": simulated.url}
    run([simulated.add_completed("zero", 1)], pipeline=pipeline, **options)
    killed = enrow_source(
        [simulated.add_completed("first", 3)], enrow_api_key=simulated.api_key, enrow_base_url=simulated.url
    )
    pipeline.extract(killed)

    report = run([simulated.add_completed("second", 4)], pipeline=pipeline, **options)

    assert (report.recovered, report.completed, recover_pending_loads(pipeline)) == (1, 1, 0)
    assert str(report).splitlines()[0] == "recovered                1  load package(s) of an earlier run"
    loaded = query(folder / "warehouse.duckdb", "SELECT batch_id, count(*) FROM enrow_data.phone_results GROUP BY 1")
    assert sorted(loaded) == [("first", 3), ("second", 4), ("zero", 1)]


def test_kill_while_making_folders(simulated: SimulatedEnrow, command: Command) -> None:
    """A run killed while it made its folders does not end the next run."""
    (Path(build_pipeline().working_dir) / "load").mkdir()
    assert command(simulated.add_completed("done", 1)).returncode == ExitCode.OK


@pytest.mark.usefixtures("held_open")
def test_half_deleted_package_does_not_end_a_run(folder: Path, simulated: SimulatedEnrow) -> None:
    """A package that was deleted before its extracted files does not end the next run."""
    options: dict[str, Any] = {"enrow_api_key": simulated.api_key, "enrow_base_url": simulated.url}
    pipeline = build_pipeline(pipelines_dir=str(folder / "pipelines"))
    pipeline.extract(enrow_source([simulated.add_completed("first", 3)], **options))
    extracted = Path(pipeline.working_dir, "normalize", "extracted")
    shutil.copytree(extracted, folder / "left")
    pipeline.normalize()
    pipeline.load()
    shutil.copytree(folder / "left", extracted, dirs_exist_ok=True)

    report = run([simulated.add_completed("second", 4)], pipeline=pipeline, **options)

    assert (report.recovered, report.completed, recover_pending_loads(pipeline)) == (0, 1, 0)
    loaded = query(folder / "warehouse.duckdb", "SELECT batch_id, count(*) FROM enrow_data.phone_results GROUP BY 1")
    assert sorted(loaded) == [("first", 3), ("second", 4)]


def test_dlt_finds_the_default_warehouse(folder: Path, simulated: SimulatedEnrow) -> None:
    """dlt finds the default warehouse by the name of the pipeline."""
    pipelines_dir = str(folder / "pipelines")
    run(
        [simulated.add_completed("done", 2)],
        pipeline=build_pipeline(pipelines_dir=pipelines_dir),
        enrow_api_key=simulated.api_key,
        enrow_base_url=simulated.url,
    )
    attached = dlt.attach(build_pipeline().pipeline_name, pipelines_dir=pipelines_dir)
    assert attached.dataset().row_counts().fetchall()
    assert (folder / "warehouse.duckdb").exists()


def test_a_run_reports_what_it_did(folder: Path, simulated: SimulatedEnrow) -> None:
    simulated.respond("odd", {"general": {"id": "odd", "status": "paused"}})
    simulated.respond("wrong", {"general": {"id": "wrong", "status": "completed"}, "results": {}})
    report = run(
        ["odd", "wrong", simulated.add_failed("bad"), simulated.add_completed("done", 2)],
        pipeline=build_pipeline(pipelines_dir=str(folder / "pipelines")),
        enrow_api_key=simulated.api_key,
        enrow_base_url=simulated.url,
    )
    assert (report.fetched, report.completed, report.ongoing, report.failed, report.other, report.unreadable) == (
        4,
        1,
        0,
        1,
        1,
        1,
    )
    assert report.rows == {
        "batch_errors": 1,
        "batch_stats": 3,
        "batches": 3,
        "phone_results": 2,
        "phone_results_ledger": 3,
    }
    assert report.exit_code is ExitCode.PARTIAL


@pytest.mark.usefixtures("held_open")
def test_a_run_with_nothing_to_do_loads_nothing(folder: Path, simulated: SimulatedEnrow) -> None:
    pipeline = build_pipeline(pipelines_dir=str(folder / "pipelines"))
    options: dict[str, Any] = {"enrow_api_key": simulated.api_key, "enrow_base_url": simulated.url}
    run([simulated.add_completed("done", 2)], pipeline=pipeline, **options)
    report = run(["done"], pipeline=pipeline, **options)
    assert (report.fetched, report.rows, report.exit_code) == (0, {}, ExitCode.OK)


def test_a_run_ends_at_its_deadline_with_what_it_has(folder: Path, command: Command, simulated: SimulatedEnrow) -> None:
    ids = [simulated.respond("slow", Response(delay_s=200.0)), simulated.add_completed("done", 2)]
    began = time.monotonic()
    ended = command(*ids, "--deadline-s", "0.5")
    assert ended.returncode == ExitCode.INTERRUPTED
    assert time.monotonic() - began < 50
    assert "stopped early     deadline  the next run goes on" in ended.stdout.splitlines()
    assert query(folder / "warehouse.duckdb", "SELECT batch_id FROM enrow_data.batches") == [("done",)]


def test_run_stops_when_the_api_is_down(
    command: Command, simulated: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run stops when the API does not answer."""
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")
    ids = [simulated.respond(f"down-{number}", Response.server_error(503)) for number in range(300)]
    ended = command(*ids, "--connections", "4")
    assert ended.returncode == ExitCode.API_UNAVAILABLE
    assert "stopped early     api_unavailable  the next run goes on" in ended.stdout.splitlines()
    fetched = sum(simulated.fetches(batch_id) > 0 for batch_id in ids)
    assert 50 <= fetched < 70


def test_sigterm_ends_a_run_with_what_it_has(folder: Path, simulated: SimulatedEnrow) -> None:
    ids = [
        simulated.add_completed("done", 2),
        simulated.respond("no-answer", Response(body=b" " * 100, stall_after=10)),
        simulated.respond("waits-for-a-retry", Response.rate_limited(100)),  # last: it slows the others down
    ]
    running = subprocess.Popen(
        enrow("run", *ids),
        cwd=folder,
        env=environ(folder, simulated),
        stdout=subprocess.PIPE,
        text=True,
    )
    with running:
        while not all(simulated.fetches(batch_id) for batch_id in ids):
            assert running.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)  # the first answer is on its way into the run
        running.terminate()
        began = time.monotonic()
        assert running.wait(timeout=60) == ExitCode.INTERRUPTED
        assert time.monotonic() - began < 50
        assert running.stdout is not None
        assert re.search(r"^stopped early +stopped ", running.stdout.read(), re.MULTILINE)
    assert query(folder / "warehouse.duckdb", "SELECT batch_id FROM enrow_data.batches") == [("done",)]
    assert query(folder / "warehouse.duckdb", "SELECT batch_id, message FROM enrow_data.batch_errors") == []
    faults_page.check_row(
        "When the worker, the disk or the destination fails",
        Seen(
            "SIGTERM, while one batch waits for a retry and another for its answer",
            "loaded what it had, and waited for neither; the next run goes on",
            f"exit code {ExitCode.INTERRUPTED}, `stopped early`: `stopped`",
        ),
    )


def test_a_locked_warehouse_is_named(folder: Path, simulated: SimulatedEnrow, free_command: Command) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import duckdb, sys; c = duckdb.connect('warehouse.duckdb'); print('held', flush=True); sys.stdin.read()",
        ],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        ended = free_command(simulated.add_completed("done", 1))
        holder.stdin.close()
    assert ended.returncode == ExitCode.FAILED
    assert "warehouse.duckdb" in ended.stderr
    assert "lock" in ended.stderr.lower()


def test_the_key_is_in_nothing_that_is_printed(simulated: SimulatedEnrow, command: Command) -> None:
    simulated.respond("broken", Response(status=500))
    ended = command("broken", "nobody-knows")
    assert simulated.api_key not in ended.stdout + ended.stderr


def test_output_that_nobody_reads(folder: Path, simulated: SimulatedEnrow) -> None:
    """As with `enrow run ID | head -0`: quiet, and what was loaded is loaded."""
    with subprocess.Popen(
        enrow("run", simulated.add_completed("done", 1)),
        cwd=folder,
        env=environ(folder, simulated),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert (running.stderr.read(), running.wait(timeout=60)) == (b"", cli.CLOSED_PIPE)
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM enrow_data.batches").fetchall() == [(1,)]


@pytest.mark.slow
def test_the_file_is_a_command(folder: Path, simulated: SimulatedEnrow) -> None:
    shutil.copytree(REPOSITORY / ".dlt", folder / ".dlt")  # as in a checkout
    ended = subprocess.run(
        enrow("run", simulated.add_completed("done", 1)),
        cwd=folder,
        env=environ(folder, simulated),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (ExitCode.OK, "")
    assert ended.stdout.startswith("fetched                  1\n")


@pytest.mark.usefixtures("folder")
def test_the_demo_shows_the_main_job(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ENROW_API_KEY", "not-used")
    ended = called(cli.main, ["demo"], capsys)
    assert ended.returncode == 0, ended.stderr
    first, second = ended.stdout.split("== Second run")
    second, people = second.split("\n== People who are to be called")
    assert "fetched 6, completed 3, still ongoing 1, failed 1, could not be read 1" in first
    assert "fetched 2, completed 1, could not be read 1" in second
    fetched_again = re.search(r"^GET: (.+)$", second, re.MULTILINE)
    assert fetched_again is not None
    assert sorted(fetched_again[1].split(", ")) == ["batch-in-progress", "batch-nobody-knows"]
    for table in ("Tables batches and batch_stats", "Table phone_results", "Table batch_errors"):
        assert table in first
    _, cost, share, bill = second.split("\n== ")
    assert cost.startswith("What does a found number cost, by country?")
    assert re.search(r"^US +\d+ +40\.\d$", cost, re.MULTILINE)
    assert share.startswith("What share is found, by which kind of search?")
    assert re.search(r"^profile URL +\d+ +\d\d\.\d$", share, re.MULTILINE)
    assert bill.startswith("Which bill does not agree with what arrived, at 40 credits a number?")
    assert re.findall(r"^(batch-\S+) ", bill, re.MULTILINE) == ["batch-rate-limited"]
    dry, real, again = people.split("\n== ")
    assert re.search(r"^credits held at most +480$", dry, re.MULTILINE)
    assert "nothing was sent and nothing was written" in dry
    assert "balance after 8,020, accepted 12, credits held 480" in real
    assert "fetched 1, completed 1" in real
    assert re.search(r"^profile URL +\d+ +\d+ +\d+$", real, re.MULTILINE)
    assert "accepted 0" in again
    assert len(ended.stdout.splitlines()) < 60, "make prints the command, too"


def test_ids_come_from_files_globs_and_a_query_at_once(
    folder: Path, simulated: SimulatedEnrow, command: Command
) -> None:
    for name in "abcd":
        simulated.add_completed(name, 1)
    (folder / "one.csv").write_text("id,when\na,1\n")
    (folder / "two.jsonl").write_text('{"event": "bulk_phone_search_finished", "id": "b"}\n{"event": "other"}\n')
    command("d", "--batch-ids-file", "one.csv", "*.jsonl", "--batch-ids-query", "SELECT 'c' AS id")
    assert [simulated.fetches(name) for name in "abcd"] == [1, 1, 1, 1]


def test_invalid_file_of_ids_gives_exit_code_3(
    folder: Path, simulated: SimulatedEnrow, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    """Invalid lines in a file of ids are reported and give exit code 3."""
    (folder / "ids.jsonl").write_text(f'"{simulated.add_completed("a", 1)}"\nnonsense\n')
    ended = command("--batch-ids-file", "ids.jsonl")
    assert ended.returncode == ExitCode.PARTIAL
    assert "invalid ids              1" in ended.stdout.splitlines()
    assert "ids.jsonl:2 is no JSON" in caplog.text


def test_pending_leaves_configured_ids_out(
    folder: Path, simulated: SimulatedEnrow, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configured ids are read, and `--pending` leaves them out."""
    (folder / "ids.txt").write_text(f"{simulated.add_completed('a', 1)}\n{simulated.add_ongoing('b', 1, 1)}")
    monkeypatch.setenv("SOURCES__ENROW__BATCH_IDS_FILE", '["ids.txt"]')
    assert command("--pending").stdout.splitlines()[0] == "fetched                  0"
    assert command().stdout.splitlines()[0] == "fetched                  2"
    assert command("--pending").stdout.splitlines()[0] == "fetched                  1"


def test_stuck_batch_gives_its_own_exit_code(
    folder: Path, simulated: SimulatedEnrow, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    """A stuck batch is reported and gives an exit code of its own."""
    ids = simulated.add_ongoing("running", 3, 1), simulated.add_completed("done", 1)
    assert command(*ids, "--stuck-after-h", "0.0001").returncode == ExitCode.OK
    first = query(
        folder / "warehouse.duckdb", "SELECT first_seen_at FROM enrow_data.batches WHERE batch_id = 'running'"
    )
    time.sleep(0.4)
    ended = command("--pending", "--stuck-after-h", "0.0001")
    assert ended.returncode == ExitCode.STUCK
    assert "stuck                    1" in ended.stdout.splitlines()
    assert "1 batches have been pending for more than 0.0001 hours: 'running' since" in caplog.text
    assert command("--pending").returncode == ExitCode.OK
    assert command("--pending", "--stuck-after-h", "0.0001").returncode == ExitCode.OK
    kept = query(folder / "warehouse.duckdb", "SELECT first_seen_at FROM enrow_data.batches WHERE batch_id = 'running'")
    assert kept == first
