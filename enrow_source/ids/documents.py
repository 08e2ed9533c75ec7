"""Batch ids in JSON documents: ids, records, webhook events, and the envelopes that relays put around events."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from ..settings import FINISHED_EVENT
from .validate import IdOrError, InvalidEntry, SkippedEvent, id_or_error, id_position, is_explicit


def ids_in_document(document: object, where: str) -> Iterator[IdOrError]:
    """Yield the ids of a document.

    A record holds an id under `batch_id`, `bulk_id` or `id`. Of webhook events, a finished bulk phone search has an
    id; one of another product is passed over; any other is invalid. An envelope's own `id` names no batch: what it
    holds is read, and where that is no event the envelope is invalid.
    """
    yield from _read(document, where, None, 0)


_DEPTH: Final = 8
"""Envelopes within envelopes that are opened."""

_EVENT_NAMES: Final = frozenset({"event", "type", "detailtype", "eventtype", "eventname"})

_ENVELOPES: Final = frozenset({"body", "data", "detail", "payload", "records", "rawbody", "sns", "kinesis"})
"""Keys of an envelope, whatever they hold."""

_CONTENTS: Final = _ENVELOPES | {"event", "message", "messages", "value", "content", "json", "record", "after"}
"""Keys that hold an event where they hold an object, a list or JSON as a string."""

_OTHER_PRODUCT: Final = re.compile(r"\w*(?:e?mail|verif|search|find)\w*", re.IGNORECASE)


class _NoEvent(InvalidEntry):
    """A part of an envelope that holds no event."""


def _read(document: object, where: str, name: str | None, depth: int) -> Iterator[IdOrError]:
    if depth > _DEPTH:
        yield InvalidEntry(f"{where} has more than {_DEPTH} envelopes in each other")
    elif isinstance(document, list):
        for part in document:
            yield from _read(part, where, name, depth)
    elif isinstance(document, Mapping):
        yield from _read_record(document, where, name, depth)
    elif (opened := _opened(document)) is not None:
        yield from _read(opened, where, name, depth + 1)
    elif depth:
        yield _NoEvent(f"{where} is {document!r:.40}, and no event {FINISHED_EVENT}")
    else:
        yield id_or_error(document, where)


def _read_record(record: Mapping[str, object], where: str, name: str | None, depth: int) -> Iterator[IdOrError]:
    name = _event_name(record) or name
    keys = list(record)
    position = id_position(keys)
    if name in {None, FINISHED_EVENT} and position is not None and is_explicit(keys[position]):
        yield id_or_error(record, where)
        return
    contents = {key: found for key in keys if _plain(key) in _CONTENTS and (found := _opened(record[key])) is not None}
    if contents:
        yield from _read_contents(contents, where, name, depth)
    elif name == FINISHED_EVENT:
        yield id_or_error(record, where)
    elif name is not None and _is_other_product(name):
        yield SkippedEvent(name)
    elif name is not None:
        yield InvalidEntry(f"{where} is the event {name!r:.60}, which is not known: no batch is read from it")
    elif depth or any(_plain(key) in _ENVELOPES for key in keys):
        named = ", ".join(keys) or "no keys"
        yield _NoEvent(f"{where} is an envelope without an event {FINISHED_EVENT}: it has {named:.160}")
    else:
        yield id_or_error(record, where)


def _read_contents(contents: Mapping[str, object], where: str, name: str | None, depth: int) -> Iterator[IdOrError]:
    found = {key: list(_read(inner, f"{where}, {key}", name, depth + 1)) for key, inner in contents.items()}
    # An envelope may carry more than its event: what is none counts only where there is no event at all.
    has_event = any(not isinstance(entry, _NoEvent) for entries in found.values() for entry in entries)
    for entries in found.values():
        if not has_event or any(not isinstance(entry, _NoEvent) for entry in entries):
            yield from entries


def _event_name(record: Mapping[str, object]) -> str | None:
    named = [(_plain(key), value.strip()) for key, value in record.items() if isinstance(value, str)]
    named = [(key, value) for key, value in named if key in _EVENT_NAMES and not value.startswith(("{", "["))]
    for _, value in named:
        if value.lower() == FINISHED_EVENT:
            return FINISHED_EVENT
    # A key such as `type` may say anything; `event` names an event.
    return next((value for key, value in named if key == "event"), None)


def _is_other_product(name: str) -> bool:
    is_bulk_phone = "bulk" in name.lower() and "phone" in name.lower()
    return _OTHER_PRODUCT.fullmatch(name.replace(".", "_").replace("-", "_")) is not None and not is_bulk_phone


def _plain(key: object) -> str:
    return re.sub(r"[^a-z]", "", str(key).lower())


def _opened(value: object) -> object:
    """Return the object or list that a value is, or holds as JSON or Base64; None where it is neither."""
    if isinstance(value, Mapping | list):
        return value
    if not isinstance(value, str):
        return None
    text = value.strip()
    if not text.startswith(("{", "[")):
        try:
            text = base64.b64decode(text, validate=True).decode().strip()
        except (binascii.Error, ValueError):
            return None
    try:
        found = msgspec.json.decode(text) if text.startswith(("{", "[")) else None
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, Mapping | list) else None
