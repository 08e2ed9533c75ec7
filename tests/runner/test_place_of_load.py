"""The destination that is configured is the one that is loaded."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from enrow_source import ConfigurationError, build_pipeline, run
from enrow_source.cli import main
from enrow_source.testing import SimulatedEnrow
from tests.conftest import Configure
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)


class Loaded:
    """Runs the command, and checks, for one batch."""

    def __init__(self, api: SimulatedEnrow) -> None:
        self.api = api

    def __call__(self, command: str, *arguments: str) -> int:
        batch = [self.api.add_completed("batch-1", 1)] if command == "run" else []
        return main([command, *batch, "--base-url", self.api.url, *arguments])


@pytest.fixture
def enrow(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    return Loaded(api)


def rows(file: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute("SELECT batch_id FROM enrow_data.batches").fetchall()


@pytest.mark.parametrize(
    "config, written",
    [
        ("", "warehouse.duckdb"),
        ('[destination.duckdb.credentials]\ndatabase = "mine.duckdb"', "mine.duckdb"),
        ('[destination.warehouse.credentials]\ndatabase = "mine.duckdb"', "mine.duckdb"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ('[destination.duckdb]\ncredentials = "mine.duckdb"', "mine.duckdb"),
                ('[destination.warehouse]\ndestination_type = "duckdb"', "warehouse.duckdb"),
            )
        ),
    ],
)
def test_duckdb_is_where_it_is_configured(
    config: str, written: str, enrow: Loaded, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    """`[destination.duckdb.credentials]` in config.toml was ignored, with exit code 0."""
    configure(config=config)
    assert enrow("check") == 0
    assert written in capsys.readouterr().out
    assert enrow("run") == 0
    assert [path.name for path in Path.cwd().glob("*.duckdb")] == [written]
    assert rows(written) == [("batch-1",)]


@pytest.mark.slow
def test_duckdb_from_the_environment(enrow: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__DATABASE", "mine.duckdb")
    assert enrow("run") == 0
    assert rows("mine.duckdb") == [("batch-1",)]


def test_the_configured_warehouse_is_loaded(
    postgres: Postgres, enrow: Loaded, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    """`[destination.warehouse] destination_type = "postgres"` still loaded DuckDB."""
    configure(
        config='[destination.warehouse]\ndestination_type = "postgres"',
        secrets=f'[destination.warehouse]\ncredentials = "{postgres.url}"',
    )
    assert enrow("check", "--dataset", "placed") == 0
    assert "warehouse (postgresql://" in capsys.readouterr().out
    assert enrow("run", "--dataset", "placed") == 0
    assert "warehouse (postgresql://" in capsys.readouterr().out
    assert enrow("run", "--destination", "duckdb") == 0
    assert [path.name for path in Path.cwd().glob("*.duckdb")] == ["warehouse.duckdb"]


@pytest.mark.parametrize("command", ["run", "check", "erase"])
def test_a_destination_that_dlt_has_not(
    command: str, enrow: Loaded, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(config='[destination.warehouse]\ndestination_type = "postgress"')
    if command == "erase":
        assert main(["erase", "--batch-id", "a-batch"]) == 2
    else:
        assert enrow(command) != 0
    captured = capsys.readouterr()
    named = "dlt has no destination 'postgress', the destination_type of [destination.warehouse]"
    assert named in captured.out + captured.err


@pytest.mark.parametrize("command", [["run", "a-batch"], ["check"], ["erase", "--batch-id", "a-batch"]], ids=" ".join)
def test_missing_credentials_are_named(
    command: list[str], configure: Configure, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was a traceback: dlt could not list the places that it had read."""
    configure()
    monkeypatch.setenv("ENROW_API_KEY", "a-key")
    assert main([*command, "--destination", "postgres"]) != 0
    captured = capsys.readouterr()
    named = "settings are missing: DESTINATION__POSTGRES__CREDENTIALS__DATABASE, "
    assert named in captured.out + captured.err
    assert "or under [destination.postgres.credentials] in .dlt/secrets.toml" in captured.out + captured.err


def test_a_name_is_no_pipeline() -> None:
    with pytest.raises(ConfigurationError, match=r"pipeline is 'duckdb': pass build_pipeline\('duckdb'\)"):
        run(["a"], pipeline="duckdb")  # type: ignore[arg-type]  # as somebody may


def test_an_empty_destination_is_refused() -> None:
    """`--destination "$UNSET"` took the destination of the last run."""
    with pytest.raises(ConfigurationError, match="destination is empty"):
        build_pipeline("")
    with pytest.raises(ConfigurationError, match="dataset_name is empty"):
        build_pipeline("duckdb", "")


@pytest.mark.parametrize("command", ["run", "check", "erase", "backfill"])
def test_broken_toml_is_named(command: str, tmp_path: Path) -> None:
    """Each gave a traceback and exit code 1."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text("[load]\nworkers = 2\n[sources.enrow\n")
    more = {"run": ["a"], "check": [], "erase": ["--batch-id", "batch-1"], "backfill": ["--batch-ids-file", "x"]}[
        command
    ]
    shown = subprocess.run(
        [sys.executable, "-m", "enrow_source", command, *more], capture_output=True, text=True, check=False, timeout=60
    )
    assert shown.returncode == 2
    assert "Traceback" not in shown.stderr
    if command != "backfill":  # which needs dask first
        assert ".dlt/config.toml:3 is no TOML" in shown.stderr


@pytest.mark.parametrize(
    "setting,told",
    [
        ('log_level = "WAS"', "log_level under [runtime]: Unknown level: 'WAS'"),
        ('request_timeout = "abc"', "request_timeout is no"),
    ],
    ids=["log_level", "request_timeout"],
)
@pytest.mark.parametrize("command", ["run", pytest.param("check", marks=pytest.mark.slow)])
def test_a_setting_of_dlt_that_is_wrong_is_named(command: str, setting: str, told: str, tmp_path: Path) -> None:
    """Each gave a traceback and exit code 1."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text(f"[runtime]\n{setting}\n")
    shown = subprocess.run(
        [sys.executable, "-m", "enrow_source", command, *(["a"] if command == "run" else [])],
        env={**os.environ, "ENROW_API_KEY": "key"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (shown.returncode, "Traceback" in shown.stderr) == (2, False), shown.stderr
    assert told in shown.stderr


def test_a_dataset_that_dlt_writes_otherwise(enrow: Loaded, logged: pytest.LogCaptureFixture) -> None:
    """dlt said so at each of its connections: 70 lines."""
    assert enrow("run", "--dataset", "Enrow_Data") == 0
    assert [record.getMessage() for record in logged.records] == ["the dataset is enrow_data, as dlt writes Enrow_Data"]
    assert rows("warehouse.duckdb") == [("batch-1",)]


@pytest.mark.parametrize(
    "name, told",
    [
        ("dummy", "the destination dummy has neither tables nor files"),
        ("postgre", "dlt has no destination 'postgre', and none of that name is configured, did you mean postgres?"),
        ("warehous", "did you mean warehouse?"),
        ("postgresql://me:a-password@host/db", "destination is an address, and takes a name"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check", "submissions", "erase"])
def test_a_destination_that_cannot_be(
    command: str, name: str, told: str, enrow: Loaded, capsys: pytest.CaptureFixture[str]
) -> None:
    """`dummy` loaded nothing, with exit code 0; an address was shown with its password."""
    if command in ("run", "check"):
        assert enrow(command, "--destination", name) != 0
    else:
        more = ["--batch-id", "no-batch"] if command == "erase" else []
        assert main([command, *more, "--destination", name]) == 2
    captured = capsys.readouterr()
    assert told in captured.out + captured.err
    assert "a-password" not in captured.out + captured.err
