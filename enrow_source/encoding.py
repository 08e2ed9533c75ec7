"""Lines of text files in whatever encoding they have."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Generator
from typing import IO, Final

HEAD_BYTES: Final = 4096
"""Bytes of a file that its kind is recognised by."""


def encoding_of(head: bytes) -> str:
    """Return the encoding: by a byte order mark, by the zeros of UTF-16, else UTF-8."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    half = len(head) // 2
    if half > 1:
        for first, encoding in ((0, "utf-16-be"), (1, "utf-16-le")):
            if head[first : 2 * half : 2].count(0) > 0.8 * half and not head[1 - first : 2 * half : 2].count(0):
                return encoding
    return "utf-8"


def lines_of(opened: IO[bytes], encoding: str) -> Generator[str]:
    """Yield the lines, each with a newline at its end, but for the last one where it has none."""
    # What cannot be decoded is refused by the validation, with its line, and the next line is read.
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    lines = io.TextIOWrapper(opened, encoding=encoding, errors=errors, newline=None)
    try:
        for line in lines:  # noqa: UP028 - `yield from` would close the file where nobody reads on
            yield line
    finally:
        lines.detach()  # whoever has opened the file closes it


NOT_DECODED: Final = re.compile("[\udc80-\udcff\ufffd]")
"""What `lines_of` leaves of bytes that are in another encoding."""

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
