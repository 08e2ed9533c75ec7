"""The destinations: a DuckDB file, a dataset in a real Postgres, a folder of Delta tables; their rows, and backups."""

from __future__ import annotations

import importlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import duckdb

if TYPE_CHECKING:
    from tests.support.postgres import Postgres

Rows = list[dict[str, Any]]

DATASET = "enrow_data"


class ChaosDestination(Protocol):
    """Where one sequence loads to."""

    arguments: list[str]
    """The arguments of the command."""
    environment: dict[str, str]
    """Its credentials."""
    has_one_writer: bool
    """Whether a run is refused while another one has the destination open."""

    def read(self, tables: Iterable[str]) -> dict[str, Rows]:
        """Return all rows of these tables; none where one does not exist."""

    def back_up(self) -> None:
        """Make a backup, in place of an earlier one."""

    def restore(self) -> None:
        """Put back what the backup has, and nothing else."""

    def drop(self) -> None:
        """Delete it."""


class DuckDBFile:
    """A file in the folder of the runs."""

    has_one_writer = True

    def __init__(self, folder: Path, dataset: str = DATASET) -> None:
        self.file = folder / "warehouse.duckdb"
        self._backup = folder / "backup"
        self._dataset = dataset
        self.arguments = ["--destination", "duckdb", "--dataset", dataset]
        self.environment = {"DESTINATION__DUCKDB__CREDENTIALS": str(self.file)}

    def read(self, tables: Iterable[str]) -> dict[str, Rows]:
        """Read a copy: opening the file itself would finish what a killed run has left in it."""
        with tempfile.TemporaryDirectory() as folder:
            self._copy(self.file.parent, Path(folder))
            with duckdb.connect(str(Path(folder) / self.file.name)) as connection:
                return {table: self._rows(connection, table) for table in tables}

    def back_up(self) -> None:
        """Copy the file."""
        shutil.rmtree(self._backup, ignore_errors=True)
        self._backup.mkdir()
        self._copy(self.file.parent, self._backup)

    def restore(self) -> None:
        """Copy it back."""
        self.drop()
        self._copy(self._backup, self.file.parent)

    def drop(self) -> None:
        """Delete the file."""
        for name in self._names():
            (self.file.parent / name).unlink(missing_ok=True)

    def _names(self) -> list[str]:
        return [self.file.name, f"{self.file.name}.wal"]

    def _copy(self, here: Path, there: Path) -> None:
        for name in self._names():
            if (here / name).exists():
                shutil.copy(here / name, there)

    def _rows(self, connection: duckdb.DuckDBPyConnection, table: str) -> Rows:
        try:
            found = connection.execute(f"SELECT * FROM {self._dataset}.{table}")
        except duckdb.CatalogException:
            return []
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


class PostgresDataset:
    """A dataset of its own in a server that many sequences share."""

    has_one_writer = False

    def __init__(self, server: Postgres, dataset: str, folder: Path | None = None) -> None:
        self._server = server
        self._dataset = dataset
        self._backup = (folder or Path(tempfile.gettempdir())) / f"{dataset}.dump"
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

    def back_up(self) -> None:
        """Dump the schema, where it exists."""
        self._backup.unlink(missing_ok=True)
        if self._server.query("SELECT 1 FROM pg_namespace WHERE nspname = %s", self._dataset):
            self._server.command("pg_dump", "--format=custom", f"--schema={self._dataset}", f"--file={self._backup}")

    def restore(self) -> None:
        """Put the schema back."""
        self.drop()
        if self._backup.exists():
            self._server.command("pg_restore", "--exit-on-error", str(self._backup))

    def drop(self) -> None:
        """Drop it, and what dlt stages in."""
        for dataset in (self._dataset, f"{self._dataset}_staging"):
            self._server.query(f"DROP SCHEMA IF EXISTS {dataset} CASCADE")


class DeltaFolder:
    """Delta tables in the folder of the runs, read with deltalake: the source reads its ledger with DuckDB."""

    has_one_writer = False

    def __init__(self, folder: Path, dataset: str = DATASET) -> None:
        self._lake = folder / "lake"
        self._tables = self._lake / dataset
        self._backup = folder / "backup"
        self.arguments = ["--destination", "filesystem", "--dataset", dataset]
        self.environment = {"DESTINATION__FILESYSTEM__BUCKET_URL": self._lake.as_uri()}

    def read(self, tables: Iterable[str]) -> dict[str, Rows]:
        """Read the newest version of each."""
        return {table: self._loads() if table == "_dlt_loads" else self._rows(table) for table in tables}

    def back_up(self) -> None:
        """Copy the folder."""
        shutil.rmtree(self._backup, ignore_errors=True)
        if self._tables.exists():
            shutil.copytree(self._tables, self._backup)

    def restore(self) -> None:
        """Copy it back."""
        self.drop()
        if self._backup.exists():
            shutil.copytree(self._backup, self._tables)

    def drop(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self._tables, ignore_errors=True)

    def _rows(self, table: str) -> Rows:
        deltalake = importlib.import_module("deltalake")  # the environments of the others do not have it

        folder = str(self._tables / table)
        rows: Rows = []
        if deltalake.DeltaTable.is_deltatable(folder):
            rows = deltalake.DeltaTable(folder).to_pyarrow_table().to_pylist()
        return rows

    def _loads(self) -> Rows:
        files = sorted(self._tables.glob("_dlt_loads/*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
