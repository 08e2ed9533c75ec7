"""What a run did: its row in the warehouse, its metrics, its log and its alert; none with personal data in it."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import ConfigurationError
from enrow_source.cli.run import main
from enrow_source.runner.metrics import write_metrics
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.runner.report import ExitCode
from enrow_source.runner.run import run
from enrow_source.runner.run_log import _COLUMNS
from enrow_source.testing import Response, SimulatedEnrow
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)

pytestmark = pytest.mark.usefixtures("held_open")

Run = Callable[..., Any]


@pytest.fixture
def load(api: SimulatedEnrow, tmp_path: Path) -> Run:
    def load(*batch_ids: str, destination: Any = None, refresh: Any = None, **options: Any) -> Any:
        folder = str(tmp_path / "pipelines")
        pipeline = build_pipeline(destination or "duckdb", pipelines_dir=folder, refresh=refresh)
        options = {"enrow_api_key": api.api_key, "enrow_base_url": api.url} | options
        return run(batch_ids, pipeline=pipeline, **options)

    return load


def rows_of_runs(columns: str, file: str = "warehouse.duckdb") -> list[tuple[Any, ...]]:
    with duckdb.connect(file) as connection:
        return connection.execute(f"SELECT {columns} FROM enrow_data.enrow_runs ORDER BY started_at").fetchall()


def test_a_row_for_each_run(api: SimulatedEnrow, load: Run) -> None:
    api.respond("retried", Response.rate_limited(0), Response.unreadable())
    ids = [api.add_completed("done", 3), api.add_ongoing("running", 1, 2), "retried"]
    for trigger in ("cron", "dagster"):
        report = load(*ids, trigger=trigger)
    assert rows_of_runs("trigger, outcome, exit_code, fetched, completed, ongoing, unreadable, phone_results_rows") == [
        ("cron", "partial", 3, 3, 1, 1, 1, 3),
        ("dagster", "partial", 3, 2, 1, 0, 1, 2),
    ]
    assert rows_of_runs("requests, retries, bytes_received > 0")[0] == (4, 1, True)
    assert (
        rows_of_runs("extract_s > 0, load_s > 0, total_s >= extract_s + load_s, started_at < ended_at")
        == [(True, True, True, True)] * 2
    )
    assert rows_of_runs("load_id")[-1] == (report.load_id,)
    assert len(set(rows_of_runs("run_id"))) == 2
    ((enrow, own_dlt, python),) = set(rows_of_runs("enrow_source_version, dlt_version, python_version"))
    assert (own_dlt, enrow.count("."), python.count(".")) == (dlt.__version__, 2, 2)


def test_failed_run_has_a_row(api: SimulatedEnrow, load: Run) -> None:
    """A run that fails has a row, without the message of its error."""
    load(api.add_completed("done", 1))
    with pytest.raises(PipelineStepFailed):
        load("another", enrow_api_key="wrong")
    assert rows_of_runs("outcome, exit_code, error") == [
        ("ok", 0, None),
        ("failed", 1, "InvalidApiKeyError in extract"),
    ]


def test_a_refused_run_row_fails_the_run(
    api: SimulatedEnrow, load: Run, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A run without a row looks to SQL as if it never was; what it has loaded stays."""
    metrics = tmp_path / "enrow.prom"
    load(api.add_completed("done", 1))
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute("DROP TABLE enrow_data.enrow_runs; CREATE VIEW enrow_data.enrow_runs AS SELECT 1 AS x")
    report = load(api.add_completed("next", 1), metrics_file=metrics)
    assert (report.exit_code, report.error) == (ExitCode.FAILED, "no row in enrow_runs")
    assert "no row in enrow_runs for this run" in caplog.text
    assert "enrow_last_run_exit_code 1" in metrics.read_text()
    with duckdb.connect("warehouse.duckdb") as connection:
        assert connection.execute("SELECT count(*) FROM enrow_data.phone_results").fetchall() == [(2,)]


def test_no_refresh_drops_the_runs(api: SimulatedEnrow, load: Run) -> None:
    load(api.add_completed("done", 1))
    load("done", refresh="drop_sources")
    assert api.fetches("done") == 2
    assert len(rows_of_runs("run_id")) == 2


@pytest.mark.slow
def test_the_same_in_postgres(api: SimulatedEnrow, load: Run, postgres: Postgres) -> None:
    postgres.query("DROP SCHEMA IF EXISTS enrow_data CASCADE")  # other tests have the same server
    for _ in range(2):
        load(api.add_completed("done", 2), destination=dlt.destinations.postgres(postgres.url))
    found = postgres.query("SELECT * FROM enrow_data.enrow_runs ORDER BY started_at")
    assert [row["fetched"] for row in found] == [1, 0]
    assert set(found[0]) == {"run_id", *_COLUMNS}


def test_every_column_is_described() -> None:
    assert [name for name, (_, description) in _COLUMNS.items() if not description.endswith(".")] == []


def test_metrics_are_written_at_once(api: SimulatedEnrow, load: Run, tmp_path: Path) -> None:
    file = tmp_path / "metrics" / "enrow.prom"
    file.parent.mkdir()
    file.write_text("of an earlier run")
    held = file.open()  # a reader that has it open keeps what it has
    report = load(api.add_completed("done", 3), "nobody-knows", metrics_file=file)
    with held:
        assert held.read() == "of an earlier run"
    lines = file.read_text().splitlines()
    assert 'enrow_last_run_batches{outcome="completed"} 1' in lines
    assert 'enrow_last_run_batches{outcome="unreadable"} 1' in lines
    assert 'enrow_last_run_rows{table="phone_results"} 3' in lines
    assert "enrow_last_run_exit_code 3" in lines
    assert lines[-1] == "# EOF"
    assert list(file.parent.iterdir()) == [file]
    with pytest.raises(OSError, match="nowhere"):
        write_metrics(report, tmp_path / "nowhere" / "enrow.prom")


@pytest.mark.parametrize("place", ["nowhere/enrow.prom", "folder", "file/enrow.prom"])
def test_metrics_that_cannot_be_written(api: SimulatedEnrow, load: Run, tmp_path: Path, place: str) -> None:
    """They are refused before the run begins: nothing is requested."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"metrics file .* cannot be written"):
        load(api.add_completed("done", 1), metrics_file=tmp_path / place)
    assert api.requests == []


def test_metrics_that_fail_at_the_end(api: SimulatedEnrow, tmp_path: Path, logged: pytest.LogCaptureFixture) -> None:
    """What is loaded stays; the run's row, its report and its exit code tell."""
    folder = tmp_path / "metrics"
    folder.mkdir()

    def ids() -> Iterator[str]:
        folder.rmdir()
        yield api.add_completed("done", 3)

    pipeline = build_pipeline()
    file = folder / "enrow.prom"
    report = run(ids(), pipeline=pipeline, metrics_file=file, enrow_api_key=api.api_key, enrow_base_url=api.url)
    assert (report.exit_code, report.rows["phone_results"]) == (ExitCode.FAILED, 3)
    assert "FileNotFoundError in metrics" in str(report)
    assert "no metrics of this run" in logged.text
    assert rows_of_runs("error, exit_code, phone_results_rows") == [("FileNotFoundError in metrics", 1, 3)]


def test_metrics_of_a_run_that_fails(load: Run, tmp_path: Path) -> None:
    with pytest.raises(PipelineStepFailed):
        load("any", enrow_api_key="wrong", metrics_file=tmp_path / "enrow.prom")
    assert "enrow_last_run_exit_code 1" in (tmp_path / "enrow.prom").read_text().splitlines()


@pytest.mark.parametrize("key,code", [("", ExitCode.OK), ("wrong", ExitCode.FAILED)])
def test_a_json_log_is_json_on_each_line(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str, code: ExitCode
) -> None:
    monkeypatch.setenv("ENROW_API_KEY", key or api.api_key)
    arguments = [api.add_completed("done", 2), "--base-url", api.url, "--log-format", "json"]
    assert main(arguments) == code
    printed = capsys.readouterr()
    records = [json.loads(line) for line in (printed.out + printed.err).splitlines()]
    assert all({"time", "level", "message"} <= record.keys() for record in records)
    if code is ExitCode.OK:
        (record,) = records
        assert (record["completed"], record["rows"]["phone_results"], record["exit_code"]) == (1, 2, 0)
    else:
        assert any(r["level"] == "ERROR" and "the API refused the key" in r["message"] for r in records)


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any]]]:
    """A server that takes what would go to Slack."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret-hook", received
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_an_alert_when_a_run_does_not_end_well(
    api: SimulatedEnrow, load: Run, hook: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, received = hook
    monkeypatch.setenv("RUNTIME__SLACK_INCOMING_HOOK", url)
    load(api.add_completed("done", 1))
    assert received == []
    load("nobody-knows")
    with pytest.raises(PipelineStepFailed):
        load("nobody-knows", enrow_api_key="wrong")
    name = build_pipeline("duckdb", pipelines_dir=str(tmp_path)).pipeline_name
    assert [message["text"] for message in received] == [
        f"*{name}*: partial (exit code 3): 1 could not be read; 1 fetched, 0 completed; enrow_data",
        f"*{name}*: failed (exit code 1): InvalidApiKeyError in extract; 0 fetched, 0 completed; enrow_data",
    ]


def test_failing_hook_is_logged_without_its_secret(
    load: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook that does not answer is logged without the secret in its URL."""
    monkeypatch.setenv("RUNTIME__SLACK_INCOMING_HOOK", "http://127.0.0.1:9/secret-hook")
    assert load("nobody-knows").exit_code is ExitCode.PARTIAL
    assert "the alert could not be sent" in caplog.text
    assert "secret-hook" not in caplog.text
