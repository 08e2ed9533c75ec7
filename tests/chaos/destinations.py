"""The destinations: a DuckDB file, and a dataset in a real Postgres; how a run finds them, and what they hold."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import duckdb

from tests.support.postgres import Postgres

Rows = list[dict[str, Any]]


class ChaosDestination(Protocol):
    """Where one sequence loads to."""

    arguments: list[str]
    """The arguments of the command."""
    environment: dict[str, str]
    """Its credentials."""

    def read(self, tables: Iterable[str]) -> dict[str, Rows]:
        """Return all rows of these tables; none where one does not exist."""

    def drop(self) -> None:
        """Delete it."""


class DuckDBFile:
    """The file `warehouse.duckdb` in the folder of the runs, as the command makes it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "warehouse.duckdb"
        self.arguments = ["--destination", "duckdb"]
        self.environment: dict[str, str] = {}

    def read(self, tables: Iterable[str]) -> dict[str, Rows]:
        """Read a copy: opening the file itself would finish what a killed run has left in it."""
        with tempfile.TemporaryDirectory() as folder:
            for file in (self.file, self.file.with_suffix(".duckdb.wal")):
                if file.exists():
                    shutil.copy(file, folder)
            with duckdb.connect(str(Path(folder) / self.file.name)) as connection:
                return {table: self._rows(connection, table) for table in tables}

    def drop(self) -> None:
        """Delete the file."""
        self.file.unlink(missing_ok=True)

    @staticmethod
    def _rows(connection: duckdb.DuckDBPyConnection, table: str) -> Rows:
        try:
            found = connection.execute(f"SELECT * FROM enrow_data.{table}")
        except duckdb.CatalogException:
            return []
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


class PostgresDataset:
    """A dataset of its own in a server that many sequences share."""

    def __init__(self, server: Postgres, dataset: str) -> None:
        self._server = server
        self._dataset = dataset
        self.arguments = ["--destination", "postgres", "--dataset", dataset]
        self.environment = {"DESTINATION__POSTGRES__CREDENTIALS": server.url}

    def read(self, tables: Iterable[str]) -> dict[str, Rows]:
        """Read what is committed."""
        known = self._server.query(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", self._dataset
        )
        names = {row["table_name"] for row in known}
        return {
            table: self._server.query(f"SELECT * FROM {self._dataset}.{table}") if table in names else []
            for table in tables
        }

    def drop(self) -> None:
        """Drop it, and what dlt stages in."""
        for dataset in (self._dataset, f"{self._dataset}_staging"):
            self._server.query(f"DROP SCHEMA IF EXISTS {dataset} CASCADE")
