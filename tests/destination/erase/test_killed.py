"""An erasure that is killed: nobody comes back."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg2  # type: ignore[import-untyped]  # it has no types
import pytest

from enrow_source import Erasure, Subject, SubjectKind, erase
from tests.destination.erase.store import (
    NOT_FOUND,
    NUMBER,
    OTHER,
    PERSON,
    Store,
    duckdb_store,
    environment,
    hashed,
    load,
    postgres_store,
)
from tests.support.command import enrow
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)

pytestmark = pytest.mark.usefixtures("settings")


KILLED = """
import os, signal, sys
from enrow_source.destination import erase as erasure
from enrow_source.cli.erase import main

erasure._delete = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_kill_before_the_deletion(tmp_path: Path) -> None:
    """A kill between the record and the deletion brings nobody back."""
    store = duckdb_store(tmp_path)
    load(store, "first")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "--number", NUMBER, "--execute"],
        cwd=tmp_path,
        env=environment(tmp_path),
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    check_what_a_killed_erasure_left(store)


@pytest.mark.slow
def test_kill_while_waiting_to_delete(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while the deletion waits for a lock brings nobody back."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres.url)
    store = postgres_store(postgres, tmp_path)
    load(store, "first")
    with holding(postgres, f"LOCK TABLE {store.dataset}.phone_results IN SHARE MODE"):  # no writer gets past it
        erasing = subprocess.Popen(
            enrow("erase", *store.arguments, "--number", NUMBER, "--execute"),
            cwd=tmp_path,
            env=environment(tmp_path),
        )
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE FROM%'"
        while not postgres.query(waiting):
            assert erasing.poll() is None
            time.sleep(0.02)
        erasing.kill()
        erasing.wait()
        for row in postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DELETE %'"):
            assert row
    check_what_a_killed_erasure_left(store)


class holding:  # noqa: N801 - reads as a verb
    """Holds a lock in a transaction of its own while the block runs."""

    def __init__(self, postgres: Postgres, statement: str) -> None:
        self._url, self._statement = postgres.url, statement

    def __enter__(self) -> None:
        self._connection = psycopg2.connect(self._url)
        self._connection.cursor().execute(self._statement)

    def __exit__(self, *_: object) -> None:
        self._connection.rollback()
        self._connection.close()


def check_what_a_killed_erasure_left(store: Store) -> None:
    """The rows are still there, the record says that it was not finished, and no run brings the person again."""
    assert store.people() == [("first", *PERSON), ("first", *OTHER), ("first", *NOT_FOUND)]
    assert store.loaded() == [("first", 3)]
    assert store.recorded() == [("number", hashed(NUMBER), None, None, None, None, None, None, None, None)]
    load(store, "second", container="fresh")
    assert [row for row in store.people() if row[0] == "second"] == [("second", *OTHER)]
    assert store.loaded() == [("first", 3), ("second", 1)]
    erased = erase(store.pipeline("erasing"), Subject(SubjectKind.NUMBER, NUMBER), execute=True)
    assert erased == Erasure(executed=True, rows=erased.rows)
    assert erased.rows["phone_results"] == 1
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("second", *OTHER)]
    assert store.loaded() == [("first", 2), ("second", 1)]
    assert [row[5] for row in store.recorded()] == [None, 1]
