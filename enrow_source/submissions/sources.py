"""Where people come from: files, SQL queries, dlt resources, Arrow tables, data frames, plain mappings."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, Any, Final, cast

import dlt
import msgspec
from dlt.common import logger
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.extract import DltResource

from ..destination.read_only import check_reads_only
from ..encoding import HEAD_BYTES, NOT_DECODED, encoding_of, lines_of
from ..errors import ConfigurationError
from ..lazy import pa
from ..settings import ID_ROWS
from .people import BrokenRow, check_columns

Row = Mapping[str, Any]
People = Any
"""Mappings with the columns of a search; a dlt resource, an Arrow table, a pandas or polars frame of such."""


def rows_of(people: People) -> Iterator[Row]:
    """Yield the rows of whatever people are given as.

    Raises:
        ConfigurationError: It holds no rows.
    """
    if isinstance(people, DltResource):
        for item in people:
            yield from rows_of(item) if _is_frame(item) else [item]
    elif _is_frame(people):
        yield from _rows_of_frame(people)
    elif isinstance(people, str | bytes | Mapping) or not isinstance(people, Iterable):
        kind = type(people).__name__
        raise ConfigurationError(f"people is a {kind}: pass mappings such as [{{'linkedin_url': ...}}]")
    else:
        yield from people


def _is_frame(people: object) -> bool:
    """Tell an Arrow table, a pandas, polars or DuckDB frame: all of them speak Arrow's stream."""
    return hasattr(people, "__arrow_c_stream__") or hasattr(people, "__arrow_c_array__")


def _rows_of_frame(people: Any) -> Iterator[Row]:  # noqa: ANN401 - whatever speaks Arrow's stream
    if hasattr(people, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(people)
    else:
        batch = pa.record_batch(people)
        reader = pa.RecordBatchReader.from_batches(batch.schema, [batch])
    # An index of pandas that nobody has named is no column of the user's.
    names = [name for name in reader.schema.names if not re.fullmatch(r"__index_level_\d+__", name)]
    check_columns(names)
    for batch in reader:
        yield from batch.select(names).to_pylist()


def rows_from_file(location: str) -> Iterator[Row]:
    """Yield the rows of a CSV, TSV, JSON, JSONL or Parquet file; each also as `.gz`.

    Raises:
        ConfigurationError: There is no such file, or it is not what its name says.
    """
    if not location.strip():
        raise ConfigurationError("the name of the file of people is empty: name one, or leave the option out")
    path = Path(location)
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    reader = _READERS.get(suffix)
    if reader is None:
        raise ConfigurationError(f"{location} is no file of people by its name: {', '.join(_READERS)} are read")
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"{location} is a folder, a pipe or a device: name a file of people")
    if not path.is_file():
        raise ConfigurationError(f"there is no file {location}, which people were to be read from")
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as opened:
            yield from _warned_if_none(reader(cast("IO[bytes]", opened), location), location)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, msgspec.DecodeError, pa.ArrowInvalid) as error:
        raise ConfigurationError(f"{location} cannot be read: {type(error).__name__}: {error}") from None


def _warned_if_none(rows: Iterable[Row], name: str) -> Iterator[Row]:
    number = 0
    for number, row in enumerate(rows, 1):  # noqa: B007 - counted
        yield row
    if number == 0:
        logger.warning(f"{name} holds nobody: no people are read from there")


def _lines(opened: IO[bytes], name: str) -> Generator[str]:
    """Yield the lines, in the encodings in which ids are read too.

    Raises:
        ConfigurationError: A line is in another one: parts of names would be sent.
    """
    encoding = encoding_of(opened.read(HEAD_BYTES))
    opened.seek(0)
    with closing(lines_of(opened, encoding)) as lines:
        for number, line in enumerate(lines, 1):
            if NOT_DECODED.search(line):
                raise ConfigurationError(f"{name}:{number} is not UTF-8: save the file as UTF-8, or as UTF-16")
            yield line


def _from_csv(opened: IO[bytes], name: str) -> Iterator[Row]:
    # Closed before its file is, also where the header is refused.
    with closing(_lines(opened, name)) as text:
        header = next(text, "")
        if not header.strip():
            return
        delimiter = max(",;\t|", key=header.count)
        names = next(csv.reader([header], delimiter=delimiter, strict=True), [])
        if len({one.strip().lower() for one in names}) < len(names):
            raise ConfigurationError(f"{name} names a column twice in its first line: {', '.join(names):.200}")
        check_columns(names, name)
        for values in csv.reader(text, delimiter=delimiter, strict=True):
            if not any(value.strip() for value in values):
                continue
            if len(values) == len(names):
                yield dict(zip(names, values, strict=True))
            else:  # which value is of which column, nobody can tell
                yield BrokenRow(f"it has {len(values)} fields, and the first line {len(names)}")


def _from_json(opened: IO[bytes], name: str) -> Iterator[Row]:
    """Read a JSON document on each line, or one array of objects."""
    text = "".join(_lines(opened, name)).lstrip("\ufeff \t\r\n")
    if text.startswith("["):
        yield from msgspec.json.decode(text, type=list[dict[str, Any]])
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise ConfigurationError(f"{name}:{number} is no JSON object: {error}") from None


def _from_parquet(opened: IO[bytes], name: str) -> Iterator[Row]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - only who reads such files

    file = pq.ParquetFile(opened)
    check_columns(file.schema_arrow.names, name)
    for batch in file.iter_batches(batch_size=ID_ROWS):
        yield from batch.to_pylist()


_READERS: Final = {
    ".csv": _from_csv,
    ".tsv": _from_csv,
    ".json": _from_json,
    ".jsonl": _from_json,
    ".ndjson": _from_json,
    ".parquet": _from_parquet,
}


def rows_from_query(query: str, pipeline: dlt.Pipeline, database: str | None = None) -> Iterator[Row]:
    """Yield the rows of a SELECT, at the destination of the pipeline or at another database.

    Args:
        query: One SELECT, whose columns are those of a search.
        pipeline: Its dataset is the default one.
        database: A SQLAlchemy URL; None for the destination.

    Raises:
        ConfigurationError: It is not one SELECT, reads what is not there, or a package is missing.
    """
    query = query.strip().rstrip(";")
    check_reads_only(query, "the query of people")
    rows = _of_destination(query, pipeline) if database is None else _of_database(query, database)
    yield from _warned_if_none(rows, "the query of people")


def _of_destination(query: str, pipeline: dlt.Pipeline) -> Iterator[Row]:
    with pipeline.sql_client() as client:
        try:
            with client.execute_query(query) as found:
                names = [column[0] for column in found.description or ()]
                check_columns(names, "the query of people")
                while page := found.fetchmany(ID_ROWS):
                    for row in page:
                        yield dict(zip(names, row, strict=True))
        except DestinationUndefinedEntity as error:
            raise ConfigurationError(f"the query of people reads what the destination does not have: {error}") from None


def _of_database(query: str, database: str) -> Iterator[Row]:
    try:
        from dlt.sources.sql_database import engine_from_credentials  # noqa: PLC0415 - it needs SQLAlchemy, an extra
        from sqlalchemy import text  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "people_database cannot be read without SQLAlchemy: pip install 'enrow-source[sql]'"
        ) from error
    engine = engine_from_credentials(database)
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            # A colon of the query is its own, and names no parameter.
            found = connection.execute(text(query.replace(":", r"\:")))
            check_columns(found.keys(), "the query of people")
            for page in found.mappings().partitions(ID_ROWS):
                yield from map(dict, page)
    finally:
        engine.dispose()
