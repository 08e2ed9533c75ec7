"""Batch ids in text and CSV: an id on each line, or a column of ids."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

from .text import refused_lines
from .validate import NAMES, IdOrError, InvalidEntry, id_column, id_or_error, id_position, is_header, is_plain


def read_table(lines: Iterator[str], name: str, *, is_csv: bool, is_growing: bool) -> Iterator[IdOrError]:
    """Yield the ids of a text or CSV file.

    Comments, lines of dashes and headers are passed over. An unbalanced quote costs its own line.

    Args:
        lines: Each with its end, but for the last one where it has none.
        name: Of the file, for messages.
        is_csv: Whether its name says that it is a table: several columns then need a header.
        is_growing: Whether a last line without its end may be half-written.
    """
    sample: list[str] = []
    for line in lines:
        sample.append(line)
        if len(sample) == _SAMPLE_LINES:
            break
    content = [line for line in sample if not _is_passed_over(line)]
    if not content:
        return
    if not is_csv and (kind := refused_lines(content)):
        yield InvalidEntry(f"{name} is {kind}, and no list of batch ids")
        return
    rows = _Rows(chain(sample, lines), _delimiter(content), is_csv=is_csv)
    yield from _Table(rows, name, is_csv=is_csv, is_growing=is_growing).entries()


_SAMPLE_LINES: Final = 50

_DELIMITERS: Final = ",;\t|"


class _Table:
    """The rows of a file, and what is known of its columns."""

    def __init__(self, rows: _Rows, name: str, *, is_csv: bool, is_growing: bool) -> None:
        self._rows, self._name, self._is_csv, self._is_growing = rows, name, is_csv, is_growing
        self._position: int | None = None
        """The column of ids, where a header names it."""
        self._columns = 1
        self._longest = 0

    def entries(self) -> Iterator[IdOrError]:
        is_first = True
        for row in self._rows:
            if row and not is_first and self._is_id_alone(row):
                self._longest = max(self._longest, len(row[0]))
                yield row[0]
                continue
            at = f"{self._name}:{self._rows.start}"
            is_cut = self._is_growing and not self._rows.has_end
            if row is None:
                yield InvalidEntry(f"{at} {_NO_END if is_cut else _UNBALANCED}")
            elif any(row) and not self._is_header(row, is_first=is_first):
                if is_first and self._is_csv and len(row) > 1:
                    yield InvalidEntry(f"{self._name} has no column {NAMES}, but {', '.join(row):.200}")
                    return
                yield self._entry(row, at, is_cut=is_cut)
            is_first = is_first and not (row and any(row))

    def _is_id_alone(self, row: list[str]) -> bool:
        return len(row) == self._columns == 1 and self._rows.has_end and is_plain(row[0])

    def _is_header(self, row: list[str], *, is_first: bool) -> bool:
        position = self._position
        if position is not None and not (position < len(row) and is_header(row[position])):
            return False
        found = id_column(row, self._name) if is_first else id_position(row)
        if found is None or (position is None and not is_first and len(row) > 1):
            return False
        if is_first or position is not None:  # files put together have more than one
            self._position, self._columns = found, len(row)
        return True

    def _entry(self, row: list[str], at: str, *, is_cut: bool) -> IdOrError:
        if self._position is None and sum(map(bool, row)) > 1:
            return InvalidEntry(f"{at} has {len(row)} columns, and no header names the one of the ids")
        index = self._position if self._position is not None else next(n for n, field in enumerate(row) if field)
        value = row[index] if index < len(row) else ""
        if "\n" in value:
            self._rows.give_back()
            return InvalidEntry(f"{at} {_UNBALANCED}")
        if is_cut and (len(row) < self._columns or (index == len(row) - 1 and len(value) < self._longest)):
            return InvalidEntry(f"{at} {_NO_END}")
        self._longest = max(self._longest, len(value))
        return id_or_error(value, at)


_NO_END: Final = "has no end yet: the next run reads it"
_UNBALANCED: Final = "has an unbalanced quote"


class _Rows:
    """Rows of fields, trimmed; None in place of a row that cannot be read, whose other lines are read again."""

    def __init__(self, lines: Iterator[str], delimiter: str, *, is_csv: bool) -> None:
        self._lines, self._delimiter, self._is_csv = lines, delimiter, is_csv
        self._row: list[str] = []
        self._number = 0
        self.start = 0
        """The first line of the row."""
        self.has_end = True
        """Whether the last line of the row ends."""

    def __iter__(self) -> Iterator[list[str] | None]:
        reader = self._reader()
        while True:
            self._row.clear()
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                self.give_back()
                self._set_place()
                reader = self._reader()
                yield None
                continue
            self._set_place()
            yield [field if "\n" in field.strip() else field.strip() for field in row]
            if self._is_given_back:
                reader = self._reader()

    def give_back(self) -> None:
        """Have all lines of the row but its first read again."""
        again = self._row[1:]
        self._lines = chain(again, self._lines)
        self._number -= len(again)
        del self._row[1:]
        self._is_given_back = True

    def _set_place(self) -> None:
        self.start = self._number - len(self._row) + 1
        self.has_end = self._row[-1].endswith("\n") if self._row else True

    def _reader(self) -> Iterator[list[str]]:
        self._is_given_back = False
        return iter(csv.reader(self._content(), delimiter=self._delimiter, strict=True))

    def _content(self) -> Iterator[str]:
        for line in self._lines:
            self._number += 1
            if _ID_ALONE.fullmatch(line):  # as most lines are: they need no check below
                self._row.append(line)
                yield line
                continue
            if not self._row and _is_passed_over(line):
                continue
            self._row.append(line)
            yield line if self._is_csv or self._row[1:] else re.sub(r"\s(#|//|-- ).*", "", line)


_ID_ALONE: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]*\n")


def _is_passed_over(line: str) -> bool:
    """Whether a line is empty, a comment, or a line of dashes as below a header."""
    text = line.strip().removeprefix("\ufeff")
    return (
        not text
        or text.startswith(("#", "//", "--"))
        or re.fullmatch(r"[-=+|*_:\s]+|sep=.|\(\d+ rows?\)", text) is not None
    )


def _delimiter(content: list[str]) -> str:
    """Return the delimiter: the one that finds a column of ids in the header, else the one of most lines."""
    headers = {d: next(csv.reader([content[0].strip().removeprefix("\ufeff")], delimiter=d), []) for d in _DELIMITERS}
    found = [(len(fields), d) for d, fields in headers.items() if len(fields) > 1 and id_position(fields) is not None]
    if found:
        return max(found)[1]
    return max(_DELIMITERS, key=lambda d: sum(d in line for line in content))
