"""What by name or content is no list of ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from .validate import is_setting


def refused_name(file_name: str) -> str | None:
    """Say what a file is that by its name is no list of ids; None where it may be one."""
    path = PurePosixPath(file_name)
    if file_name.startswith((".", "~$")):
        return "a hidden file"
    if path.stem.lower() in _REFUSED_NAMES:
        return f"a file {path.stem}"
    suffix = path.suffix.lower()
    return f"a {suffix} file" if suffix in _REFUSED_SUFFIXES else None


def refused_content(head: bytes, encoding: str) -> str | None:
    """Say what a file is that by its first bytes is no list of ids; None where it may be one."""
    for begin, kind in _BEGINNINGS:
        if head.startswith(begin):
            return kind
    if encoding != "utf-8":
        return None
    binary = sum(byte < 32 and byte not in b"\t\n\r\f\x1b\x1e" for byte in head)  # noqa: PLR2004 - control characters
    if binary > len(head) / 8:
        return "a binary file"
    return "XML or HTML" if head.lstrip().startswith(b"<") else None


def refused_lines(lines: Sequence[str]) -> str | None:
    """Say what a text is that is no list of ids: sentences, or settings; None where it may be one."""
    several = 2
    settings = sum(is_setting(line) for line in lines)
    if settings > len(lines) / 2:
        return "a file of settings"
    words = re.compile(r"[^\s,;|]+ [^\s,;|]+ [^\s,;|]+")
    sentences = sum(words.search(line) is not None for line in lines)
    return "a text of sentences" if sentences > several and sentences > len(lines) / 2 else None


_BEGINNINGS: Final = (
    (b"PK\x03\x04", "a ZIP archive or a workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Office file"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"SQLite format 3", "a SQLite database"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"(\xb5/\xfd", "a Zstandard file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"ARROW1", "an Arrow file"),
    (b"-----BEGIN ", "a key or certificate"),
)

_REFUSED_NAMES: Final = frozenset({"readme", "license", "makefile", "dockerfile", "changelog", "contributing"})

_REFUSED_KINDS: Final = {
    "workbooks": ".xlsx .xls .xlsm .ods .numbers",
    "documents": ".doc .docx .odt .rtf .ppt .pptx .pdf .md .rst .adoc .html .htm .xml",
    "settings": ".yaml .yml .toml .ini .cfg .conf .env .pem .key .crt .lock",
    "programs": ".py .ipynb .sql .sh .bat .ps1 .js .ts .java .go .rs .c .h .exe .dll .so .pyc .whl .jar",
    "media": ".jpg .jpeg .png .gif .svg .webp .ico .bmp .tif .tiff .heic .mp3 .mp4",
    "archives": ".zip .tar .tgz .7z .rar .bz2 .xz .zst",
    "data": ".db .sqlite .sqlite3 .duckdb .avro .orc .arrow .feather .pkl .npy",
    "unfinished": ".swp .tmp .part .crdownload",
}
_REFUSED_SUFFIXES: Final = frozenset(suffix for kind in _REFUSED_KINDS.values() for suffix in kind.split())
