"""Comments on tables and columns, which dlt leaves out in DuckDB: set after a load that changes a table."""

from pathlib import Path

import duckdb
import pytest
from dlt.common.pipeline import LoadInfo

from enrow_source.destination.comments import comment_tables
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.runner.run import run
from enrow_source.runner.run_log import ENROW_RUNS
from enrow_source.tables.schema import ACCOUNT_CREDITS, TABLES
from enrow_source.testing import SimulatedEnrow, bodies

pytestmark = pytest.mark.usefixtures("held_open")


@pytest.fixture(autouse=True)
def configured(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)


EVERY = (*TABLES, ACCOUNT_CREDITS, ENROW_RUNS)


def comments(folder: Path) -> dict[tuple[str, str], str]:
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        found = connection.execute(
            "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE comment IS NOT NULL"
            " UNION ALL SELECT table_name, '', comment FROM duckdb_tables() WHERE comment IS NOT NULL"
        )
        return {(table, column): comment for table, column, comment in found.fetchall()}


def last_load() -> LoadInfo:
    trace = build_pipeline().last_trace
    assert trace is not None
    assert trace.last_load_info is not None
    return trace.last_load_info


def test_every_column_and_table_has_its_description(api: SimulatedEnrow, tmp_path: Path) -> None:
    run([api.respond("one", bodies.completed("one", 2))])
    declared = {(table.name, column.name): column.description for table in EVERY for column in table.columns}
    assert comments(tmp_path) == declared | {(table.name, ""): table.description for table in EVERY}


def test_a_load_that_changes_no_table_sends_nothing(api: SimulatedEnrow) -> None:
    run([api.respond("one", bodies.completed("one", 2))])
    run([api.respond("two", bodies.completed("two", 2))])
    assert comment_tables(build_pipeline(), last_load()) == 0
    run([api.respond("three", bodies.completed("three", 2, extra={"params": {"undocumented": "text"}}))])
    assert comment_tables(build_pipeline(), last_load()) > 0


def test_refused_comments_lose_no_rows(api: SimulatedEnrow, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A database that refuses comments is reported, and the rows are there."""
    run([api.respond("one", bodies.completed("one", 2))])
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute("DROP TABLE enrow_data.batch_errors")
    with caplog.at_level("WARNING", "dlt"):
        assert comment_tables(build_pipeline(), last_load()) == 0
    assert "without their comments" in caplog.text
