"""Batch ids in files of all kinds: text, CSV, JSON, JSONL, Parquet, webhook events."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from itertools import chain
from json import JSONDecoder
from pathlib import PurePosixPath
from typing import IO, Final, cast

import msgspec

from ..encoding import HEAD_BYTES, encoding_of, lines_of
from ..errors import InvalidBatchIdError
from ..lazy import pa
from ..settings import ID_ROWS
from .documents import ids_in_document
from .table import read_table
from .text import refused_content, refused_name
from .validate import NAMES, IdOrError, InvalidEntry, id_column, id_or_error


def read_file(opened: IO[bytes], name: str, file_name: str = "", *, is_growing: bool = False) -> Iterator[IdOrError]:
    """Yield the ids of a file of any kind, which its name says, else its content; one that is not readable is invalid.

    Args:
        opened: The file, at its start; it can go back there.
        name: For messages.
        file_name: With the suffix; empty where it has none, as standard input.
        is_growing: Whether a last line without its end may be half-written.
    """
    try:
        yield from _read_file(opened, name, file_name, is_growing=is_growing)
    except InvalidBatchIdError as error:
        yield InvalidEntry(str(error))
    # Any other error is one of reading, and ends the run before its cursor moves.
    except (EOFError, UnicodeError, gzip.BadGzipFile, pa.ArrowInvalid, zlib.error) as error:
        yield InvalidEntry(f"{name} is not readable: {type(error).__name__}")


def _read_file(opened: IO[bytes], name: str, file_name: str, *, is_growing: bool) -> Iterator[IdOrError]:
    head = opened.read(HEAD_BYTES)
    opened.seek(0)
    if not head.strip():
        return
    file_name = file_name.removesuffix(".gz")
    suffix = PurePosixPath(file_name).suffix.lower()
    if kind := refused_name(file_name):
        yield InvalidEntry(f"{name} is {kind}, and no list of batch ids")
    elif suffix == ".parquet" or head.startswith(b"PAR1"):
        yield from _read_parquet(opened, name)
    elif head.startswith(b"\x1f\x8b"):
        yield from _read_file(cast("IO[bytes]", gzip.GzipFile(fileobj=opened)), name, file_name, is_growing=is_growing)
    else:
        encoding = encoding_of(head)
        is_json = suffix in _JSON_SUFFIXES
        if kind := None if is_json else refused_content(head, encoding):
            yield InvalidEntry(f"{name} is {kind}, and no list of batch ids")
            return
        begin = head.decode(encoding, errors="ignore").lstrip("\ufeff \t\r\n\x1e")
        lines = lines_of(opened, encoding)
        if is_json or begin.startswith(("{", "[")):
            yield from read_json(lines, name, is_growing=is_growing)
        else:
            yield from read_table(lines, name, is_csv=suffix in _CSV_SUFFIXES, is_growing=is_growing)


def read_json(lines: Iterator[str], name: str, *, is_growing: bool = False) -> Iterator[IdOrError]:
    """Yield the ids of JSON documents: one on each line, one on many lines, or many on one line."""
    for number, line in enumerate(lines, 1):
        text = line.strip(_SPACE)
        if not text or text.startswith(_COMMENTS):
            continue
        try:
            document = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            yield from _read_whole("".join(chain([line], lines)), number, name, is_growing=is_growing)
            return
        yield from ids_in_document(document, f"{name}:{number}")


_SPACE: Final = " \t\r\n\f\x1e\ufeff"
"""What may be around a document; with the separator of JSON text sequences."""

_COMMENTS: Final = ("#", "//")
_JSON_SUFFIXES: Final = frozenset({".json", ".jsonl", ".ndjson"})
_CSV_SUFFIXES: Final = frozenset({".csv", ".tsv", ".psv"})


def _read_whole(text: str, number: int, name: str, *, is_growing: bool) -> Iterator[IdOrError]:
    """Yield the ids of the documents of a text, whatever is between them; `number` is its first line's."""
    decoder, position, is_invalid = JSONDecoder(), 0, False
    while True:
        start = position
        while position < len(text) and text[position] in _SPACE + ",":
            position += 1
        number += text.count("\n", start, position)
        if position == len(text):
            return
        at, line_end = f"{name}:{number}", text.find("\n", position)
        line_end = len(text) if line_end < 0 else line_end
        if text.startswith(_COMMENTS, position):
            position = line_end
            continue
        try:
            document, end = decoder.raw_decode(text, position)
            if not isinstance(document, dict | list):
                _check_stands_alone(text, position, end, line_end, is_invalid=is_invalid)
        except (ValueError, RecursionError):
            is_cut = is_growing and line_end == len(text)
            yield InvalidEntry(f"{at} has no end yet: the next run reads it" if is_cut else f"{at} is no JSON")
            is_invalid, position = True, line_end
            continue
        number += text.count("\n", position, end)
        position = end
        yield from ids_in_document(document, at)


def _check_stands_alone(text: str, start: int, end: int, line_end: int, *, is_invalid: bool) -> None:
    """Refuse a string or number that is part of an unreadable document, such as the key of an object.

    Raises:
        ValueError: It is.
    """
    rest = text[end:line_end].strip(_SPACE)
    is_at_line_start = start == 0 or text[start - 1] == "\n"
    if rest.strip(",") or (is_invalid and (rest or not is_at_line_start)):
        raise ValueError(rest)


def _read_parquet(opened: IO[bytes], name: str) -> Iterator[IdOrError]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - only who reads such files

    file = pq.ParquetFile(opened)
    columns = file.schema_arrow.names
    position = id_column(columns, name)
    if position is None:
        yield InvalidEntry(f"{name} has no column {NAMES}, but {', '.join(columns):.200}")
        return
    row = 0
    for batch in file.iter_batches(columns=[columns[position]], batch_size=ID_ROWS):
        for value in batch.column(0).to_pylist():
            row += 1
            yield id_or_error(value, f"{name}, row {row}")


def read_stream(stream: IO[bytes], name: str) -> Iterator[IdOrError]:
    """Yield the ids of a stream that cannot go back, such as standard input: of a file of any kind."""
    yield from read_file(io.BytesIO(stream.read()), name)
