"""A DuckDB file that pipelines load into, and what is in it."""

from pathlib import Path
from typing import Any, TypeAlias

import dlt
import duckdb
from dlt.extract import DltSource

Row: TypeAlias = dict[str, Any]

VARYING = ("deferred_at", "fetched_at", "first_seen_at", "_dlt_load_id")


class Warehouse:
    """A DuckDB file, and the pipelines that load into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "warehouse.duckdb"
        self._connection: duckdb.DuckDBPyConnection | None = None

    def pipeline(self, container: str = "first") -> dlt.Pipeline:
        """Build the pipeline as a container does that has the working folders of that name, or none yet."""
        pipeline: dlt.Pipeline = dlt.pipeline(
            "enrow",
            destination=dlt.destinations.duckdb(str(self.file)),
            dataset_name="enrow_data",
            pipelines_dir=str(self.folder / container),
        )
        return pipeline

    def run(self, source: DltSource, container: str = "first", **options: Any) -> None:
        self.hold()
        self.pipeline(container).run(source, **options)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Query the dataset."""
        return self.hold().execute(f"USE enrow_data; {statement}").fetchall()

    def hold(self) -> duckdb.DuckDBPyConnection:
        """Keep the file open: dlt connects to it a dozen times in a run, and each is quicker then."""
        self._connection = self._connection or duckdb.connect(str(self.file))
        return self._connection

    def close(self) -> None:
        """Let another process have the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def columns(self, table: str) -> list[str]:
        return [name for (name,) in self.sql(f"SELECT column_name FROM (DESCRIBE {table})")]

    def rows(self, table: str) -> list[Row]:
        """Return the whole rows of a table in their order, without the columns that differ from run to run."""
        names = [name for name in self.columns(table) if name not in VARYING]
        found = self.sql(f"SELECT COLUMNS(name -> name NOT IN {VARYING}) FROM {table} ORDER BY ALL")
        return [dict(zip(names, row, strict=True)) for row in found]

    def tables(self) -> set[str]:
        """Return the names of the tables, without dlt's own."""
        found = self.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'enrow_data'")
        return {name for (name,) in found if not name.startswith("_dlt")}
