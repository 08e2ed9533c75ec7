"""Shards: parts of all ids, for several workers."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ..errors import ConfigurationError


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

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"{self.number}/{self.of}"

    def __contains__(self, batch_id: str) -> bool:
        """Whether the id is in this part."""
        return self.of == 1 or zlib.crc32(batch_id.encode()) % self.of == self.number - 1

    def select(self, batch_ids: Sequence[str]) -> Sequence[str]:
        """Return those of the ids that are in this part."""
        return batch_ids if self.of == 1 else [batch_id for batch_id in batch_ids if batch_id in self]
