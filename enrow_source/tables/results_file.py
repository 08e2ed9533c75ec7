"""`phone_results` as parquet files of our own, which dlt imports as they are instead of writing the rows once more.

One file holds what a load brings, so that the destination reads it once; another one begins where a column is new.
https://dlthub.com/docs/general-usage/resource#import-external-files
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from ..lazy import pa
from ..settings import ROW_GROUP_ROWS
from .schema import PHONE_RESULTS

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_PREFIX: Final = "enrow_phone_results_"

_FEW_VALUES: Final = frozenset(
    {"batch_id", "qualification", "country", "params__firstname", "params__lastname", "fetched_at", "_dlt_load_id"}
)
"""Columns that a dictionary makes smaller; in the others nearly every value is another one."""


@dataclass(frozen=True, slots=True)
class ResultsFile:
    """A file that is closed and complete."""

    path: Path
    rows: int
    schema: pa.Schema
    folder: TemporaryDirectory[str]
    """Is deleted with its last file, and where a run fails, when nothing refers to it any more."""

    def remove(self) -> None:
        """Delete the file, and the folder where it was the last one."""
        self.path.unlink()
        with suppress(OSError):
            self.path.parent.rmdir()


def remove_left(folder: Path) -> None:
    """Remove what a killed process has left in a folder that no other one works in."""
    for left in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


class ResultsWriter:
    """Writes tables of `phone_results` to parquet files, in a folder of its own, deleted when nothing refers to it.

    The folder is on the same disk as the load packages, so that dlt can link the files. They also have the columns
    `known` to the destination beside the declared ones, in that order, or dlt would have to write them again. Another
    file begins after `rows_per_file`.
    """

    def __init__(self, folder: Path, rows_per_file: int, known: Iterable[str] = ()) -> None:
        self._folder = TemporaryDirectory(prefix=_PREFIX, dir=folder)
        self._more = list(known)
        self._rows_per_file = rows_per_file
        self._path = Path(self._folder.name)
        self._writer: pq.ParquetWriter | None = None
        self._files = self._rows = 0
        self._pending: list[pa.Table] = []

    def write(self, tables: Sequence[pa.Table]) -> list[ResultsFile]:
        """Write the rows of some batches; returns the file before, where it is full or lacks a column of theirs."""
        names = {name for table in tables for name in table.schema.names}
        new = sorted(names - PHONE_RESULTS.names - set(self._more))
        finished = self.finish() if new or self._rows >= self._rows_per_file else []
        self._more += new
        schema = pa.schema([*PHONE_RESULTS.arrow, *(pa.field(name, pa.string()) for name in self._more)])
        rows = pa.concat_tables([schema.empty_table(), *tables], promote_options="default")
        self._rows += rows.num_rows
        self._pending.append(rows)
        waiting = sum(table.num_rows for table in self._pending)
        if waiting >= ROW_GROUP_ROWS:
            whole = waiting - waiting % ROW_GROUP_ROWS
            joined = pa.concat_tables(self._pending)
            self._write(joined.slice(0, whole))
            self._pending = [joined.slice(whole)]
        return finished

    def finish(self) -> list[ResultsFile]:
        """Close the file, and return it where there is one."""
        if not self._rows:
            return []
        writer = self._write(pa.concat_tables(self._pending))
        writer.close()
        self._writer, self._pending = None, []
        rows, self._rows = self._rows, 0
        return [ResultsFile(self._path, rows, writer.schema, self._folder)]

    def discard(self) -> None:
        """Remove what is written."""
        if self._writer is not None:
            self._writer.close()
        self._folder.cleanup()

    def _write(self, rows: pa.Table) -> pq.ParquetWriter:
        if self._writer is None:
            import pyarrow.parquet as pq  # noqa: PLC0415 - a run with nothing new does without

            self._files += 1
            self._path = Path(self._folder.name, f"{self._files}.parquet")
            few_values = [name for name in rows.schema.names if name in _FEW_VALUES]
            self._writer = pq.ParquetWriter(
                self._path, rows.schema, compression="snappy", use_dictionary=few_values, write_statistics=False
            )
        if rows.num_rows:
            self._writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
        return self._writer
