"""Fixtures of the tests of erasure."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from enrow_source.cli.erase import main
from enrow_source.testing import SimulatedEnrow
from tests.destination.erase.store import (
    NOT_FOUND,
    NUMBER,
    OTHER,
    PERSON,
    SECRET,
    URL,
    Store,
    batch,
    duckdb_store,
    postgres_store,
)
from tests.support.command import Command, Ended, called
from tests.support.postgres import Postgres


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    if request.param == "duckdb":
        # Held open: dlt connects to it a dozen times in a run, and each is quicker then.
        with duckdb.connect(str(tmp_path / "warehouse.duckdb")):
            yield duckdb_store(tmp_path)
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres.url)
    yield postgres_store(postgres, tmp_path)


@pytest.fixture
def command(store: Store, capsys: pytest.CaptureFixture[str]) -> Command:
    def run_command(*arguments: str) -> Ended:
        return called(main, [*store.arguments, *arguments], capsys)

    return run_command


@pytest.fixture
def settings(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
    monkeypatch.setenv("SOURCES__ENROW__PII_SECRET", SECRET)
    api.respond("first", batch("first", PERSON, OTHER, NOT_FOUND))
    api.respond("second", batch("second", OTHER, (f"  {URL.upper()}/", NUMBER)))
