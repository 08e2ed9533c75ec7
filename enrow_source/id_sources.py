"""Where batch ids lie: files and buckets, webhook events, SQL queries. Incremental: what was read is not read again.

https://dlthub.com/docs/dlt-ecosystem/verified-sources/filesystem,
https://dlthub.com/docs/general-usage/incremental-loading
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any, Final, Self

import dlt
import msgspec
import sqlglot
import sqlglot.expressions as sql
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.exceptions import MissingDependencyException
from dlt.common.storages import FilesystemConfiguration
from dlt.common.storages.fsspec_filesystem import FileItemDict
from dlt.extract import DltResource
from dlt.extract.incremental import Incremental
from dlt.pipeline.exceptions import PipelineConfigMissing, PipelineNeverRan

from .arrow import pa
from .batch_ids import Damaged, batch_id_of
from .errors import ConfigurationError, InvalidBatchIdError
from .settings import FINISHED_EVENT, ID_LAG_S, ID_ROWS

Found = str | Damaged
"""An id, or what stands in place of one that cannot be read."""


def _damage() -> tuple[type[Exception], ...]:
    """What a damaged file raises; any other error is one of reading it, and ends the run before its cursor moves."""
    return (
        EOFError,
        UnicodeDecodeError,
        RecursionError,
        csv.Error,
        gzip.BadGzipFile,
        msgspec.DecodeError,
        pa.ArrowInvalid,
        zlib.error,
    )


class _Position(Incremental[Any]):
    """Where reading got to; the lag is for points in time alone, since a number has no seconds."""

    def bind(self, pipe: Any) -> Incremental[Any]:  # noqa: ANN401 - dlt's own type for it is not public
        known = dlt.current.resource_state(pipe.name).get("incremental", {}).get(self.cursor_path, {})
        if not isinstance(known.get("last_value"), datetime):
            self.lag = None
        return super().bind(pipe)


def _position(cursor: str, lag_s: float) -> _Position:
    # Without a primary key: dlt would keep a hash of everything that has the newest value in its state.
    return _Position(cursor, primary_key=(), on_cursor_value_missing="include", lag=lag_s)


def batch_ids_from_files(location: str, *, lag_s: float = ID_LAG_S) -> DltResource:
    """Yield the batch ids of files, of those alone that have arrived since the last run.

    One id on each line; CSV and Parquet with a column `batch_id` or `id`; JSON and JSONL with such a key, or webhook
    events, of which those other than `bulk_phone_search_finished` are left out. Each also as `.gz`. What cannot be
    read is reported and left out; the rest of the file is read.

    Args:
        location: A path, a glob (`ids/**/*.csv`) or a URL: `file://`, `s3://`, `gs://`, `az://`. A folder stands for
            all that is in it, a bucket URL that ends in `/` too. Credentials are dlt's, for `sources.filesystem`.
        lag_s: Seconds before the newest file that are read again, since files may appear out of order.

    Returns:
        A resource for `enrow_source(batch_ids=...)`, which remembers the time of the newest file it has read.

    Raises:
        ConfigurationError: While it is read: a file that is named does not exist, or a package is missing.
    """
    place = _Place.of(location)

    @dlt.resource(name=_name("files", place.url, place.glob))
    def arrived(modification_date: Incremental[Any] = _position("modification_date", lag_s)) -> Iterator[Any]:  # noqa: ARG001, B008 - dlt filters by it
        is_empty = True
        for page in place.pages():
            is_empty = False
            yield page
        if is_empty and not place.may_be_empty:
            raise ConfigurationError(f"there is no file {location}, which batch ids were to be read from")

    @dlt.transformer(name=_name("ids", place.url, place.glob))
    def ids(page: Sequence[FileItemDict]) -> Iterator[Found]:
        for file in page:
            yield from _ids_of_file(file)

    resource: DltResource = arrived | ids
    return resource


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder or bucket, and the files in it."""

    url: str
    glob: str
    may_be_empty: bool
    """Whether nothing may be there: a pattern matches what will come."""

    @classmethod
    def of(cls, location: str) -> Self:
        if FilesystemConfiguration.is_local_path(location) or location.startswith("file:"):
            is_url = location.startswith("file:")
            path = Path(FilesystemConfiguration.make_local_path(location) if is_url else location).absolute()
            if path.is_dir():
                return cls(str(path), "**/*", may_be_empty=True)
            if path.exists():  # also where its name looks like a pattern
                return cls(str(path.parent), re.sub(r"([*?[])", r"[\1]", path.name), may_be_empty=False)
            location = str(path)
        scheme, _, rest = location.rpartition("://")
        folder, _, name = rest.rpartition("/")
        if not name:
            return cls(location, "**/*", may_be_empty=True)
        if found := re.search(r"[*?[]", rest):
            cut = rest.rindex("/", 0, found.start())
            folder, name = rest[:cut], rest[cut + 1 :]
        return cls(f"{scheme}://{folder}" if scheme else folder or "/", name, may_be_empty=found is not None)

    def pages(self) -> Iterator[list[FileItemDict]]:
        from dlt.sources.filesystem import filesystem  # noqa: PLC0415 - it imports pandas' readers; only who reads files

        try:
            for item in filesystem(self.url, file_glob=self.glob):
                yield [self._arrived(item)]
        except MissingDependencyException as error:
            extra = self.url.split(":")[0]
            raise ConfigurationError(
                f"{self.url} cannot be read without {', '.join(error.dependencies)}:"
                f" pip install 'enrow-source[{extra}]'"
            ) from error

    @staticmethod
    def _arrived(file: FileItemDict) -> FileItemDict:
        """Date a local file by when it came here: one that is moved in keeps the time of its writing."""
        if "file" in file.fsspec.protocol:
            changed = datetime.fromtimestamp(os.stat(file.local_file_path).st_ctime, UTC)  # noqa: PTH116
            file["modification_date"] = max(file["modification_date"], changed)
        return file


def _ids_of_file(file: FileItemDict) -> Iterator[Found]:
    name = file["file_url"]
    suffix = Path(file["file_name"].removesuffix(".gz")).suffix.lower()
    try:
        with file.open() as opened:
            yield from _READERS.get(suffix, _from_text)(opened, name)
    except FileNotFoundError:
        yield Damaged(f"{name} was gone before it could be read")
    except _damage() as error:
        yield Damaged(f"{name} is damaged: {type(error).__name__}")


def _from_text(opened: IO[bytes], name: str) -> Iterator[Found]:
    """Read an id on each line; or JSON, where it begins like that."""
    begin = opened.read(len(_BOM) + 100).removeprefix(_BOM).lstrip()
    opened.seek(0)
    if begin.startswith((b"{", b"[")):
        yield from _from_json(opened, name)
        return
    for number, line in enumerate(opened, 1):
        text = line.removeprefix(_BOM)
        if text.strip():
            # What is no UTF-8 is refused as an id, and the next line is read.
            yield _id(text.decode(errors="surrogateescape"), f"{name}:{number}")


def _from_json(opened: IO[bytes], name: str) -> Iterator[Found]:
    """Read a document on each line, or one document in many lines."""
    first = opened.readline()
    if first.strip() and _document(first) is None:
        body = first + opened.read()
        document = _document(body)
        if document is not None:
            yield from _of_records(document, name)
            return
        opened, first = io.BytesIO(body), b""
    for number, line in enumerate(_lines(first, opened), 1):
        if line.strip():
            document = _document(line)
            at = f"{name}:{number}"
            yield from [Damaged(f"{at} is no JSON")] if document is None else _of_records(document, at)


_BOM: Final = b"\xef\xbb\xbf"


def _lines(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _document(text: bytes) -> object:
    """Decode a JSON document; None where it is none, or null, which holds no id either."""
    try:
        return msgspec.json.decode(text.removeprefix(_BOM))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _of_records(found: object, where: str) -> Iterator[Found]:
    for record in found if isinstance(found, list) else [found]:
        # Anything may be sent to a webhook; what is no finished search of phones has no batch to look at.
        if isinstance(record, Mapping) and record.get("event", FINISHED_EVENT) != FINISHED_EVENT:
            continue
        yield _id(record, where)


def _from_csv(opened: IO[bytes], name: str) -> Iterator[Found]:
    text = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
    header = text.readline()
    delimiter = max(",;\t", key=header.count)
    columns = [column.strip().lower() for column in next(csv.reader([header], delimiter=delimiter), [])]
    named = [column for column in ("batch_id", "id") if column in columns]
    if not named and len(columns) > 1:
        yield Damaged(f"{name} has no column batch_id or id, but {', '.join(columns):.200}")
        return
    position = columns.index(named[0]) if named else 0
    rows = csv.reader(text, delimiter=delimiter)
    if not named:
        yield from (_id(value, f"{name}:1") for value in next(csv.reader([header])) if value.strip())
    for row in rows:
        if any(value.strip() for value in row):
            yield _id(row[position] if position < len(row) else None, f"{name}:{rows.line_num + 1}")


def _from_parquet(opened: IO[bytes], name: str) -> Iterator[Found]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - only who reads such files

    file = pq.ParquetFile(opened)
    columns = file.schema_arrow.names
    named = [column for column in ("batch_id", "id") if column in columns]
    if not named:
        yield Damaged(f"{name} has no column batch_id or id, but {', '.join(columns):.200}")
        return
    row = 0
    for batch in file.iter_batches(columns=named[:1], batch_size=ID_ROWS):
        for value in batch.column(0).to_pylist():
            row += 1
            yield _id(value, f"{name}, row {row}")


_READERS: Final = {
    ".csv": _from_csv,
    ".tsv": _from_csv,
    ".json": _from_json,
    ".jsonl": _from_json,
    ".ndjson": _from_json,
    ".parquet": _from_parquet,
}


def batch_ids_from_query(
    query: str, *, database: str | None = None, cursor: str | None = None, lag_s: float = ID_LAG_S
) -> DltResource:
    """Yield the batch ids that a SQL query gives; with a cursor, those alone that are new since the last run.

    Args:
        query: A SELECT with a column `batch_id` or `id`. A row without an id is reported and left out.
        database: A SQLAlchemy URL; None for the destination of the running pipeline, whose dataset is the default.
        cursor: A column of the query that grows with each row that is written or changed: rows below its highest
            value so far are not read again. It has to change when a row gets its id. None reads all rows each time.
        lag_s: Seconds before the highest point in time that are read again, since transactions end out of order.

    Returns:
        A resource for `enrow_source(batch_ids=...)`, which remembers the highest value of the cursor.

    Raises:
        ConfigurationError: It is not one SELECT, or the cursor is no name of a column. While it is read: the query has
            no column of ids or no cursor, a table does not exist, or a package is missing.
    """
    query = query.strip().rstrip(";")
    _check_reads_only(query)
    if cursor is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", cursor):
        raise ConfigurationError(f"batch_ids_cursor is {cursor!r:.80}: name a column of batch_ids_query")
    column = cursor.lower() if cursor else ""

    def read(start: object) -> Iterator[list[dict[str, Any]]]:
        reader = _of_destination if database is None else _of_database
        for page in reader(database or "", query, cursor, start):
            _check_columns(page[0], column)
            yield page

    if cursor is None:

        @dlt.resource(name=_name("rows", query, _host(database)))
        def rows() -> Iterator[list[dict[str, Any]]]:
            yield from read(None)

    else:

        @dlt.resource(name=_name("rows", query, cursor, _host(database)))
        def rows(position: Incremental[Any] = _position(column, lag_s)) -> Iterator[list[dict[str, Any]]]:  # noqa: B008
            yield from read(position.last_value)

    @dlt.transformer(name=_name("ids", query, cursor or "", _host(database)))
    def ids(page: Sequence[Mapping[str, Any]]) -> Iterator[Found]:
        for row in page:
            value = row["batch_id"] if "batch_id" in row else row["id"]
            # Databases have a type of their own for such ids.
            yield _id(value if value is None else str(value), "a row of batch_ids_query")

    resource: DltResource = rows | ids
    return resource


def _check_reads_only(query: str) -> None:
    """Refuse what would change the database: it would be run there, every quarter of an hour."""
    try:
        statements = sqlglot.parse(query)
    except sqlglot.errors.SqlglotError:
        statements = []  # a dialect that sqlglot takes for another one; the first word tells
    changes = (sql.DML, sql.DDL, sql.Command, sql.Drop, sql.Alter, sql.TruncateTable, sql.Into)
    reads = len(statements) == 1 and isinstance(statements[0], sql.Query) and not statements[0].find(*changes)
    if not (reads if statements else re.match(r"(?i)\(*\s*(select|with|from|values)\b", query)):
        raise ConfigurationError(f"batch_ids_query is {query!r:.80}: write one SELECT, which changes nothing")


def _of_database(url: str, query: str, cursor: str | None, start: object) -> Iterator[list[dict[str, Any]]]:
    try:
        from dlt.sources.sql_database import engine_from_credentials  # noqa: PLC0415 - it needs SQLAlchemy, an extra
        from sqlalchemy import text  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "batch_ids_database cannot be read without SQLAlchemy: pip install 'enrow-source[sql]'"
        ) from error
    statement = _from(query, cursor, ":enrow_start" if start is not None else "")
    # A colon of the query is its own, and names no parameter.
    statement = statement.replace(query, query.replace(":", r"\:"), 1)
    engine = engine_from_credentials(url)
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            found = connection.execute(text(statement), {"enrow_start": start} if start is not None else {})
            for page in found.mappings().partitions(ID_ROWS):
                yield [_lowered(dict(row)) for row in page]
    finally:
        engine.dispose()


def _of_destination(_: str, query: str, cursor: str | None, start: object) -> Iterator[list[dict[str, Any]]]:
    pipeline = dlt.current.pipeline()
    schema = dlt.current.source_schema().name
    with pipeline.sql_client(**({"schema_name": schema} if schema in pipeline.schemas else {})) as client:
        literal = "" if start is None else _literal(start, client.capabilities.sqlglot_dialect)
        try:
            with client.execute_query(_from(query, cursor, literal)) as found:
                names = [column[0] for column in found.description or ()]
                while page := found.fetchmany(ID_ROWS):
                    yield [_lowered(dict(zip(names, row, strict=True))) for row in page]
        except DestinationUndefinedEntity as error:
            raise ConfigurationError(f"batch_ids_query reads what the destination does not have: {error}") from error


def _from(query: str, cursor: str | None, start: str) -> str:
    """Narrow the query to what is new; a row without a value of the cursor is read each time."""
    if not start:
        return query
    return f"SELECT * FROM (\n{query}\n) enrow_ids WHERE {cursor} >= {start} OR {cursor} IS NULL"  # noqa: S608 - the user's own query


def _literal(value: object, dialect: str | None) -> str:
    kind = None
    if isinstance(value, datetime):
        kind = "timestamptz" if value.tzinfo else "timestamp"
    elif isinstance(value, date):
        kind = "date"
    expression = sql.cast(sql.Literal.string(str(value)), kind) if kind else sql.convert(value)
    return expression.sql(dialect=dialect)


def _lowered(row: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name).lower(): value for name, value in row.items()}


def _check_columns(row: Mapping[str, Any], cursor: str) -> None:
    if "batch_id" not in row and "id" not in row:
        raise ConfigurationError(
            f"batch_ids_query has no column batch_id or id, but {', '.join(row):.200}: name one with AS"
        )
    if cursor and cursor not in row:
        raise ConfigurationError(f"batch_ids_query has no column {cursor}, the batch_ids_cursor: select it too")


def _id(item: object, where: str) -> Found:
    try:
        return batch_id_of(item, where)
    except InvalidBatchIdError as error:
        return Damaged(str(error))


def _name(kind: str, *of: str) -> str:
    """Name a resource after what it reads: its cursor is of no use for anything else."""
    digest = hashlib.sha256("\0".join(of).encode()).hexdigest()[:12]
    return f"batch_ids_{kind}_{digest}"


def _host(database: str | None) -> str:
    """Tell one database from another without the password, which may change."""
    return re.sub(r"//[^@/]*@", "//", database or "")


def configured_resources(
    files: str | Iterable[str] | None, query: str | None, cursor: str | None, database: str | None
) -> list[DltResource]:
    """Make the resources that the options `batch_ids_...` of the source name.

    Raises:
        ConfigurationError: An option is of no use without another.
    """
    if query is None and cursor:
        raise ConfigurationError("batch_ids_cursor needs batch_ids_query: set it, or leave the cursor out")
    if isinstance(files, str):  # a variable of the environment: one place, or a JSON array
        try:
            files = msgspec.json.decode(files, type=list[str]) if files.lstrip().startswith("[") else [files]
        except msgspec.DecodeError as error:
            raise ConfigurationError(f'batch_ids_file is {files!r:.80}: write a path, or ["one", "more"]') from error
    resources = [batch_ids_from_files(location) for location in files or ()]
    return resources + ([batch_ids_from_query(query, database=database, cursor=cursor or None)] if query else [])


def begin_anew_where_it_does_not_fit(
    resources: Iterable[DltResource], tables: Iterable[str], part: str, *, is_emptied: bool
) -> None:
    """Forget how far the resources were read, where that is of no use to this run, so that they are read as a whole.

    So it is where the tables are emptied, where a table is selected that was not when they were read, or where the
    part of the ids or the destination is another one: what was read is then not what is there.
    """
    resources = list(resources)
    if not resources:
        return
    state = dlt.current.source_state()
    place = hashlib.sha256(f"{_destination()}\0{part}".encode()).hexdigest()[:12]
    wanted = set(tables)
    read_for = state.get(_READ_FOR, {})
    if is_emptied or not wanted or read_for.get("place") != place or not wanted <= set(read_for["tables"]):
        known = state.get("resources", {})
        for name in [part.name for resource in resources for part in _parts(resource)]:
            known.pop(name, None)
    state[_READ_FOR] = {"place": place, "tables": sorted(wanted)}


_READ_FOR: Final = "batch_ids_read_for"
"""In the state of the source: what the ids were read for, whose number does not matter."""


def _parts(resource: DltResource) -> Iterator[Any]:
    pipe = resource._pipe  # noqa: SLF001 - dlt has no public way to the resource that a transformer reads
    while pipe is not None:
        yield pipe
        pipe = pipe.parent


def _destination() -> str:
    try:
        pipeline = dlt.current.pipeline()
        with pipeline.destination_client() as client:
            return f"{client.config} {pipeline.dataset_name}"
    except (PipelineNeverRan, PipelineConfigMissing):
        return ""  # iterated outside a pipeline, or before it has a destination: nothing is loaded
