"""A destination as the cases see it: pipelines that load into it, and what it holds."""

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import dlt
import pyarrow as pa
from dlt.common.destination import Destination
from dlt.common.pipeline import LoadInfo
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract import DltSource

from enrow_source.destination.delta import open_table
from enrow_source.settings import SOURCE_NAME

Row: TypeAlias = dict[str, Any]
NewDestination: TypeAlias = Callable[[], Destination[Any, Any]]


class Column(NamedTuple):
    """A column as a destination has it, in dlt's types."""

    data_type: str
    nullable: bool


@dataclass
class TargetDataset:
    """A dataset of its own at a destination.

    Args:
        destination: Makes the destination, once for each container.
        dataset: Name of the dataset.
        folder: For the working folders of the pipelines.
        pipeline_options: Further arguments of `dlt.pipeline`, such as a staging.
    """

    destination: NewDestination
    dataset: str
    folder: Path
    pipeline_options: Callable[[], Mapping[str, Any]]

    def pipeline(self, container: str = "first", name: str = "enrow") -> dlt.Pipeline:
        """Build the pipeline as a container does that has the working folders of that name, or none yet."""
        return cast(
            "dlt.Pipeline",
            dlt.pipeline(
                name,
                destination=self.destination(),
                dataset_name=self.dataset,
                pipelines_dir=str(self.folder / container),
                **self.pipeline_options(),
            ),
        )

    def run(self, source: DltSource, container: str = "first", **options: Any) -> LoadInfo:
        info: LoadInfo = self.pipeline(container).run(source, **options)
        return info

    def columns(self, table: str) -> dict[str, Column]:
        """Return the columns of a table, in lower case, as the destination describes them."""
        with self._client() as client:
            (_, columns), *_ = client.get_storage_tables([table])
        return {
            name.lower(): Column(str(column["data_type"]), nullable=bool(column["nullable"]))
            for name, column in columns.items()
        }

    def rows(self, table: str) -> list[Row]:
        """Return the whole rows of a table in no particular order; none where it does not exist."""
        names = list(self.columns(table))
        if not names:
            return []
        with self._client() as client:
            sql = client.sql_client
            columns = ", ".join(sql.escape_column_name(client.capabilities.casefold_identifier(name)) for name in names)
            found = sql.execute_sql(f"SELECT {columns} FROM {sql.make_qualified_table_name(table)}")
        return [dict(zip(names, row, strict=True)) for row in found or ()]

    def layout(self, table: str) -> str:
        """Tell how the rows of a table are laid out, and what its columns are said to be."""
        with self._client() as client:
            sql, columns = client.sql_client, list(client.schema.get_table_columns(table).values())
            if queries := _CATALOGUE.get(self.pipeline().destination.destination_name):
                found = [row for query in queries for row in sql.execute_sql(query, table, self.dataset) or ()]
                return "\n".join(str(value) for row in found for value in row)
            # What an emulator makes of it is not what the warehouse does: this is the statement that dlt sends.
            return "\n".join(client._get_table_update_sql(table, columns, generate_alter=False))

    def finished_loads(self) -> list[str]:
        return [row["load_id"] for row in self.rows("_dlt_loads") if row["status"] == 0]

    def forget_load(self, load_id: str) -> None:
        """Take the load out of `_dlt_loads`, as if the worker had been killed before it was complete."""
        self._delete("_dlt_loads", "load_id", load_id)

    def delete_batch(self, table: str, batch_id: str) -> None:
        self._delete(table, "batch_id", batch_id)

    def drop_table(self, table: str) -> None:
        """Drop one table, as a person does by hand."""
        with self._client() as client:
            client.sql_client.drop_tables(table)

    def lose_column(self, table: str, column: str) -> None:
        """Leave a column out, as a backup of before has none."""
        with self._client() as client:
            sql = client.sql_client
            name = sql.escape_column_name(client.capabilities.casefold_identifier(column))
            sql.execute_sql(f"ALTER TABLE {sql.make_qualified_table_name(table)} DROP COLUMN {name}")

    def drop(self) -> None:
        """Leave nothing behind: the destination may be a real account."""
        with self._client() as client:
            sql = client.sql_client
            for dataset in (nullcontext(), sql.with_staging_dataset()):
                with dataset:
                    if sql.has_dataset():
                        sql.drop_dataset()

    def _delete(self, table: str, column: str, value: str) -> None:
        with self._client() as client:
            sql = client.sql_client
            name = sql.escape_column_name(client.capabilities.casefold_identifier(column))
            sql.execute_sql(f"DELETE FROM {sql.make_qualified_table_name(table)} WHERE {name} = %s", value)

    @contextmanager
    def _client(self) -> Iterator[SqlJobClientBase]:
        with self.pipeline().destination_client() as client:
            yield cast("SqlJobClientBase", client)


class LakeDataset(TargetDataset):
    """Delta tables in a folder or a bucket, read with deltalake, which is not what the source reads its ledger with."""

    def columns(self, table: str) -> dict[str, Column]:
        return {field.name: Column(_DLT_TYPES[str(field.type)], field.nullable) for field in self._read(table).schema}

    def layout(self, table: str) -> str:
        return f"partitioned by {self._open(table).metadata().partition_columns}"

    def rows(self, table: str) -> list[Row]:
        rows: list[Row] = self._read(table).to_pylist()
        return rows

    def finished_loads(self) -> list[str]:
        with self._files() as client:
            found = [json.loads(client.fs_client.read_text(file)) for file in client.list_table_files("_dlt_loads")]
        return [row["load_id"] for row in found if row["status"] == 0]

    def drop_table(self, table: str) -> None:
        with self._files() as client:
            client.fs_client.rm(client.get_table_dir(table), recursive=True)

    def lose_column(self, table: str, column: str) -> None:
        lake = self._open(table)
        rows = lake.to_pyarrow_table().drop_columns([column])
        importlib.import_module("deltalake").write_deltalake(lake, rows, mode="overwrite", schema_mode="overwrite")

    def drop(self) -> None:
        with self._files() as client:
            client.drop_storage()

    def _delete(self, table: str, column: str, value: str) -> None:
        if table != "_dlt_loads":
            self._open(table).delete(f"{column} = '{value}'")
            return
        with self._files() as client:
            for file in client.list_table_files(table):
                if value in file:
                    client.fs_client.rm(file)

    def _read(self, table: str) -> pa.Table:
        return self._open(table).to_pyarrow_table()

    def _open(self, table: str) -> Any:
        with self._files() as client:
            return open_table(client, SOURCE_NAME, table)

    @contextmanager
    def _files(self) -> Iterator[FilesystemClient]:
        with self.pipeline().destination_client() as client:
            yield cast("FilesystemClient", client)


_DLT_TYPES = {
    "string": "text",
    "large_string": "text",
    "int64": "bigint",
    "decimal128(38, 9)": "decimal",
    "timestamp[us, tz=UTC]": "timestamp",
}
_CATALOGUE = {
    "duckdb": ("SELECT comment FROM duckdb_columns() WHERE table_name = %s AND schema_name = %s",),
    "postgres": (
        (
            "SELECT d.description FROM pg_description d JOIN pg_class c ON c.oid = d.objoid"
            " WHERE c.relname = %s AND c.relnamespace = %s::regnamespace"
        ),
        "SELECT indexdef FROM pg_indexes WHERE tablename = %s AND schemaname = %s",
    ),
}
