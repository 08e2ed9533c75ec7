"""Validates batch ids: one rule for all places that they come from.

An id is opaque, apart from what no id has: white space, control characters, quotes, separators, a length past
`ID_CHARS`. A UUID, an integer, and bytes of a driver are the same id as their text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral
from typing import Final, TypeGuard
from uuid import UUID

from dlt.common import logger

from ..encoding import NOT_DECODED
from ..errors import InvalidBatchIdError
from ..settings import ID_CHARS


@dataclass(frozen=True, slots=True)
class InvalidEntry:
    """What a source of ids yields in place of an id that cannot be read."""

    message: str
    """Where it is and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class SkippedEvent:
    """What a source of ids yields in place of a webhook event of another product."""

    name: str


IdOrError = str | InvalidEntry | SkippedEvent
"""An id, or what stands in place of one."""

NAMES: Final = "batch_id, bulk_id or id"
"""The columns and keys that hold ids, for messages."""


def is_header(text: object) -> bool:
    """Whether it is the name of a column of ids, however it is spelled: `Batch ID`, `batchId`, `bulk_id`, `id`."""
    return isinstance(text, str) and len(text) <= _HEADER_CHARS and _HEADER.fullmatch(text.strip()) is not None


def id_position(names: Iterable[object]) -> int | None:
    """Return the position of the column of ids among the names of columns: `batch_id` before `bulk_id` before `id`."""
    found = [(_rank(name), position) for position, name in enumerate(names) if is_header(name)]
    return min(found)[1] if found else None


def id_column(names: Sequence[object], where: str) -> int | None:
    """Return the position of the column of ids of a table; where there are others of the kind, the log says so.

    Raises:
        InvalidBatchIdError: Two columns have the same right to be it.
    """
    position = id_position(names)
    others = [name for at, name in enumerate(names) if is_header(name) and at != position]
    if position is not None and others:
        name = names[position]
        if same := [other for other in others if _rank(other) == _rank(name)]:
            both = " and ".join(dict.fromkeys(map(str, [name, *same])))
            raise InvalidBatchIdError(f"{where} has several columns {both}: leave one, or name one batch_id")
        logger.warning(f"{where}: the batch ids are read from {name}, and not from {', '.join(map(str, others))}")
    return position


def is_explicit(name: object) -> bool:
    """Whether the name says that it is a batch, as `batch_id` does and `id` does not."""
    return is_header(name) and _rank(name) < _ID


def is_plain(item: object) -> TypeGuard[str]:
    """Whether it is an id as nearly all are, at first sight."""
    return isinstance(item, str) and _PLAIN.fullmatch(item) is not None and not is_header(item)


def batch_id_of(item: object, where: str) -> str:
    """Return the id that a value, or a dict with an id among its keys, is; trimmed.

    Args:
        item: A string, UUID, integer, bytes, or a dict with one of them under `batch_id`, `bulk_id` or `id`.
        where: Where it is, for the error.

    Raises:
        InvalidBatchIdError: It is no id; says where and why.
    """
    if is_plain(item):
        return item
    if isinstance(item, Mapping):
        keys = list(item)
        position = id_position(keys)
        if position is None:
            named = ", ".join(map(repr, keys)) or "no keys"
            raise InvalidBatchIdError(f"{where} has no {NAMES}, but {named:.200}")
        item = item[keys[position]]
    elif is_header(item):
        raise InvalidBatchIdError(f"{where} is {item!r:.80}: it is the name of a column")
    text = _text(item)
    if text is None:
        raise InvalidBatchIdError(f"{where} is {item!r:.80}, which is no batch id")
    text = text.strip().removeprefix("\ufeff")
    if reason := _reason(text):
        raise InvalidBatchIdError(f"{where} is {shown(text)}: {reason}")
    return text


def id_or_error(item: object, where: str) -> str | InvalidEntry:
    """Return the id, or the invalid entry that says where it is and what is wrong."""
    try:
        return batch_id_of(item, where)
    except InvalidBatchIdError as error:
        return InvalidEntry(str(error))


def column_values(item: object, where: str) -> Sequence[object] | None:
    """Return the ids of a table or a column of Arrow, pandas or polars; None where it is neither.

    Raises:
        InvalidBatchIdError: The table has no column of ids.
    """
    if isinstance(item, str | bytes | bytearray | memoryview | Mapping):
        return None
    names = getattr(item, "column_names", None)
    names = getattr(item, "columns", None) if names is None else names
    if names is not None:
        names = list(names)
        position = id_column(names, where)
        if position is None:
            raise InvalidBatchIdError(f"{where} has no column {NAMES}, but {', '.join(map(str, names)):.200}")
        item = item[names[position]]  # type: ignore[index]  # as all three have it
    for method in ("to_pylist", "tolist", "to_list"):
        if hasattr(item, method):
            values = getattr(item, method)()
            return values if isinstance(values, list) else [values]
    return None


def shown(text: str) -> str:
    """Show a refused entry in part; of a setting its name alone, since its value may be a secret."""
    setting = _SETTING.match(text)
    return f"{setting[1]!r:.60} with a value" if setting else f"{text!r:.80}"


def is_setting(text: str) -> bool:
    """Whether a line sets a variable, as in a file `.env`."""
    return re.match(r"(?:export\s+)?[A-Z][A-Z0-9_]*=[^=]", text) is not None


_ID: Final = 2
_HEADER_CHARS: Final = 40
_HEADER: Final = re.compile(r"(?:(?:batch|bulk)[\s_-]*)?id", re.IGNORECASE)
_QUOTES: Final = "\"'`\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"
_SEPARATORS: Final = ",;|<>{}[]\\"
_PLAIN: Final = re.compile(rf"(?=.*[0-9A-Za-z])[0-9A-Za-z_.:-]{{1,{ID_CHARS}}}")
_SETTING: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*[=:]\s*[^=\s]")


def _rank(name: object) -> int:
    text = str(name).strip().lower()
    return 0 if text.startswith("batch") else 1 if text.startswith("bulk") else _ID


def _text(value: object) -> str | None:
    """Return the text of an id; None where the value is of no type that an id has."""
    text: str | None = None
    if isinstance(value, str):
        text = value
    elif isinstance(value, bytes | bytearray | memoryview):
        text = _text_of_bytes(bytes(value))
    elif isinstance(value, UUID):
        text = str(value)
    elif isinstance(value, bool):
        text = None
    elif isinstance(value, Decimal):
        text = str(int(value)) if value.is_finite() and value == value.to_integral_value() else None
    elif isinstance(value, Integral):
        text = str(int(value))
    elif hasattr(value, "as_py"):  # a scalar of Arrow
        text = _text(value.as_py())
    return text


def _text_of_bytes(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if not text.strip().isprintable() and len(value) == len(UUID(int=0).bytes):
        return str(UUID(bytes=value))  # as MySQL and Parquet store one
    return None if text == "\0" else text


def _reason(text: str) -> str | None:
    """Say why a text is no id; None where it is one."""
    return next((reason for is_wrong, reason in _RULES if is_wrong(text)), None)


_RULES: Final[tuple[tuple[Callable[[str], object], str], ...]] = (
    (lambda text: not text, "a batch id cannot be empty"),
    (lambda text: len(text) > ID_CHARS, f"a batch id has {ID_CHARS} characters at the most"),
    (NOT_DECODED.search, "it is not UTF-8"),
    (re.compile(r"\s").search, "a batch id has no white space inside"),
    (lambda text: not text.isprintable(), "a batch id has no control characters"),
    (re.compile(f"[{re.escape(_QUOTES)}]").search, "a batch id has no quotes"),
    (re.compile(f"[{re.escape(_SEPARATORS)}]").search, "a batch id has no separators or brackets"),
    (is_setting, "it is a setting"),
    (re.compile(r"[-=+_*~.:#]+").fullmatch, "it has no letter or digit"),
)
