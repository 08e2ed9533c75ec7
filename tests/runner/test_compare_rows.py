"""Rows of `phone_results` that are not those of the ledger: `enrow check` names the batches and what repairs them."""

import shutil
from pathlib import Path

import duckdb
import pytest

from enrow_source.cli.check import main
from enrow_source.destination.results_loaded import compare_rows
from enrow_source.errors import EnrowError
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.runner.report import ExitCode
from enrow_source.testing import SimulatedEnrow
from tests.conftest import Load
from tests.support.warehouse import Warehouse


def change(sql: str) -> None:
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute(f"USE enrow_data; {sql}")


@pytest.fixture
def loaded(load: Load, api: SimulatedEnrow, warehouse: Warehouse) -> None:
    """Batches with 3, 2 and no results, and one that is ongoing."""
    ids = [api.add_completed("a", 3), api.add_completed("b", 2), api.add_completed("none", 0), api.add_ongoing("later")]
    load(ids, pipeline=build_pipeline("duckdb"))
    warehouse.close()


def compared(tmp_path: Path) -> str:
    """Compare as another worker does, which has never run."""
    return compare_rows(build_pipeline("duckdb", pipelines_dir=str(tmp_path / "elsewhere")))


def test_before_the_first_load(tmp_path: Path) -> None:
    assert compared(tmp_path) == "there is no phone_results yet"


CHANGES = [
    ("INSERT INTO phone_results FROM phone_results WHERE batch_id = 'a'", "a (6 rows, 3 loaded)."),
    ('DELETE FROM phone_results WHERE "index" = 1', "a (2 rows, 3 loaded), b (1 rows, 2 loaded)."),
    ("DELETE FROM phone_results_ledger WHERE batch_id = 'b'", "b (2 rows, 0 loaded)."),
    ("DROP TABLE phone_results", "a (0 rows, 3 loaded), b (0 rows, 2 loaded)."),
    ("DROP TABLE phone_results_ledger", "a (3 rows, 0 loaded), b (2 rows, 0 loaded)."),
    ("DROP TABLE _dlt_loads; DELETE FROM phone_results WHERE batch_id = 'a'", "a (0 rows, 3 loaded)."),
    ("UPDATE phone_results SET batch_id = 'none'", "a (0 rows, 3 loaded), b (0 rows, 2 loaded), none (5 rows, 0"),
]


@pytest.mark.usefixtures("loaded")
def test_other_rows_are_named(tmp_path: Path) -> None:
    """Rows twice, rows too few, rows that no ledger knows, of another batch; tables that are gone."""
    assert compared(tmp_path) == "phone_results has the rows that results_loaded says"
    shutil.copy("warehouse.duckdb", "loaded.duckdb")
    for sql, difference in CHANGES:
        shutil.copy("loaded.duckdb", "warehouse.duckdb")
        change(sql)
        with pytest.raises(EnrowError) as raised:
            compared(tmp_path)
        assert difference in str(raised.value), sql


@pytest.mark.usefixtures("loaded")
def test_the_command_fails_and_says_what_repairs(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    assert main(["--base-url", api.url]) == ExitCode.OK
    change("DELETE FROM phone_results WHERE batch_id = 'b'")
    assert main(["--base-url", api.url]) == ExitCode.FAILED
    assert "enrow run b --refetch" in capsys.readouterr().out
