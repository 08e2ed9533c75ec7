"""Batch ids in files: text, CSV, JSON, JSONL, Parquet, webhook events."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Final

import msgspec

from ..lazy import pa
from ..settings import FINISHED_EVENT, ID_ROWS
from .input import IdOrError, InvalidEntry, id_or_error


def unreadable_file_errors() -> tuple[type[Exception], ...]:
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


def read_text(opened: IO[bytes], name: str) -> Iterator[IdOrError]:
    """Read an id on each line; or JSON, where it begins like that."""
    begin = opened.read(len(_BOM) + 100).removeprefix(_BOM).lstrip()
    opened.seek(0)
    if begin.startswith((b"{", b"[")):
        yield from read_json(opened, name)
        return
    for number, line in enumerate(opened, 1):
        text = line.removeprefix(_BOM)
        if text.strip():
            # What is no UTF-8 is refused as an id, and the next line is read.
            yield id_or_error(text.decode(errors="surrogateescape"), f"{name}:{number}")


def read_json(opened: IO[bytes], name: str) -> Iterator[IdOrError]:
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
            yield from [InvalidEntry(f"{at} is no JSON")] if document is None else _of_records(document, at)


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


def _of_records(found: object, where: str) -> Iterator[IdOrError]:
    for record in found if isinstance(found, list) else [found]:
        # Anything may be sent to a webhook; what is no finished search of phones has no batch to look at.
        if isinstance(record, Mapping) and record.get("event", FINISHED_EVENT) != FINISHED_EVENT:
            continue
        yield id_or_error(record, where)


def read_csv(opened: IO[bytes], name: str) -> Iterator[IdOrError]:
    """Read the column `batch_id` or `id`, else the only column."""
    text = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
    header = text.readline()
    delimiter = max(",;\t", key=header.count)
    columns = [column.strip().lower() for column in next(csv.reader([header], delimiter=delimiter), [])]
    named = [column for column in ("batch_id", "id") if column in columns]
    if not named and len(columns) > 1:
        yield InvalidEntry(f"{name} has no column batch_id or id, but {', '.join(columns):.200}")
        return
    position = columns.index(named[0]) if named else 0
    rows = csv.reader(text, delimiter=delimiter)
    if not named:
        yield from (id_or_error(value, f"{name}:1") for value in next(csv.reader([header])) if value.strip())
    for row in rows:
        if any(value.strip() for value in row):
            yield id_or_error(row[position] if position < len(row) else None, f"{name}:{rows.line_num + 1}")


def read_parquet(opened: IO[bytes], name: str) -> Iterator[IdOrError]:
    """Read the column `batch_id` or `id`."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - only who reads such files

    file = pq.ParquetFile(opened)
    columns = file.schema_arrow.names
    named = [column for column in ("batch_id", "id") if column in columns]
    if not named:
        yield InvalidEntry(f"{name} has no column batch_id or id, but {', '.join(columns):.200}")
        return
    row = 0
    for batch in file.iter_batches(columns=named[:1], batch_size=ID_ROWS):
        for value in batch.column(0).to_pylist():
            row += 1
            yield id_or_error(value, f"{name}, row {row}")


READERS: Final = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".json": read_json,
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".parquet": read_parquet,
}
