"""Batch ids, from wherever they are: an iterable of strings, or a dlt resource."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from dlt.extract import DltResource

from .errors import ConfigurationError, InvalidBatchIdError

BatchIds = Iterable[str] | DltResource
"""An iterable of ids, or a dlt resource that yields ids, or dicts with an `id` or a `batch_id`."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of all ids; the same id is always in the same part."""

    number: int = 1
    """From 1."""
    of: int = 1

    @classmethod
    def parse(cls, shard: str | None) -> Self:
        """Read `3/8`; None is the whole.

        Raises:
            ConfigurationError: It does not read like that.
        """
        if shard is None:
            return cls()
        found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", shard.strip())
        if found is None or int(found[1]) > int(found[2]):
            raise ConfigurationError(f"shard is {shard!r}: write 3/8 for the third of eight parts")
        return cls(int(found[1]), int(found[2]))

    def __contains__(self, batch_id: str) -> bool:
        """Whether the id is in this part."""
        return self.of == 1 or zlib.crc32(batch_id.encode()) % self.of == self.number - 1


def read_batch_ids(batch_ids: BatchIds) -> Iterable[str]:
    """Return the ids trimmed, each once, in the order given.

    An iterable is read at once, so that a bad id is found before anything runs; a resource when the ids are wanted.

    Raises:
        InvalidBatchIdError: An id is empty or not a string; shows which.
    """
    if isinstance(batch_ids, DltResource):
        return _FromResource(batch_ids)
    if isinstance(batch_ids, (str, bytes, Mapping)) or not isinstance(batch_ids, Iterable):
        kind = type(batch_ids).__name__
        raise InvalidBatchIdError(f"batch_ids is a {kind} ({batch_ids!r:.80}): pass a list of ids, such as ['...']")
    return tuple(_unique(batch_ids))


class _FromResource:
    """The ids that a resource yields, each time it is iterated."""

    def __init__(self, resource: DltResource) -> None:
        self._resource = resource

    def __iter__(self) -> Iterator[str]:
        return iter(_unique(self._resource))


def _unique(items: Iterable[Any]) -> dict[str, None]:
    return dict.fromkeys(_batch_id(item, position) for position, item in enumerate(items))


def _batch_id(item: object, position: int) -> str:
    batch_id = item
    if isinstance(item, Mapping):
        if "batch_id" not in item and "id" not in item:
            keys = ", ".join(map(repr, item)) or "no keys"
            raise InvalidBatchIdError(f"batch_ids[{position}] has neither 'id' nor 'batch_id', but {keys}")
        batch_id = item["batch_id"] if "batch_id" in item else item["id"]
    if not isinstance(batch_id, str):
        raise InvalidBatchIdError(f"batch_ids[{position}] is {batch_id!r:.80}, not a string")
    if not batch_id.strip():
        raise InvalidBatchIdError(f"batch_ids[{position}] is {batch_id!r:.80}: a batch id cannot be empty")
    if "\0" in batch_id or not _is_utf8(batch_id):
        raise InvalidBatchIdError(
            f"batch_ids[{position}] is {batch_id!r:.80}: it has a character that cannot be stored"
        )
    return batch_id.strip()


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
