"""Personal data: kept, hashed or dropped before a row is written anywhere."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ..errors import ConfigurationError
from ..lazy import pa
from ..settings import PII_SECRET_CHARS


class Pii(StrEnum):
    """What becomes of personal data on its way into the tables."""

    KEEP = "keep"
    HASH = "hash"
    """A keyed hash: equal for equal values, so that joins and distinct counts still work."""
    DROP = "drop"
    """Null."""


@dataclass(frozen=True, slots=True)
class Privacy:
    """What becomes of personal data; raises ConfigurationError where hashes lack a `secret`, or it is short."""

    mode: Pii = Pii.KEEP
    secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.secret is None and self.mode is Pii.HASH:
            raise ConfigurationError(
                'pii = "hash" needs a secret, or anyone could hash all phone numbers and compare: set pii_secret'
                " under [sources.enrow] in .dlt/secrets.toml, and keep it, since another one gives other hashes"
            )
        if self.secret is not None and len(self.secret) < PII_SECRET_CHARS:
            raise ConfigurationError(f"pii_secret is shorter than {PII_SECRET_CHARS} characters: choose a longer one")

    def keyed_hash(self, value: str) -> str:
        """HMAC-SHA256 of `value`, 64 hexadecimal digits."""
        if self.secret is None:
            raise ConfigurationError("there is no secret to hash with: set pii_secret under [sources.enrow]")
        return hmac.digest(self.secret.encode(), value.encode(), "sha256").hex()

    def column(self, values: pa.Array, *, is_json: bool) -> pa.Array:
        """Treat a column of text; JSON text stays JSON text. Each distinct value is hashed once."""
        if self.mode is Pii.KEEP:
            return values
        if self.mode is Pii.DROP:
            return pa.nulls(len(values), pa.string())
        encoded = values.dictionary_encode()
        hashes = [self.text(value, is_json=is_json) for value in encoded.dictionary.to_pylist()]
        return pa.array(hashes, pa.string()).take(encoded.indices)

    @property
    def hides(self) -> bool:
        """Whether anything is left out of the tables: values, and the names that undocumented fields have."""
        return self.mode is not Pii.KEEP

    def fields(self, fields: Mapping[str, str]) -> str | None:
        """Treat undocumented fields, names and values, as JSON text: an object of hashes by hashes, or null."""
        if self.mode is Pii.DROP:
            return None
        if self.mode is Pii.HASH:
            fields = {self.keyed_hash(name): self.keyed_hash(value) for name, value in fields.items()}
        return json.dumps(fields, ensure_ascii=False)

    def text(self, value: str | None, *, is_json: bool) -> str | None:
        """Treat one value."""
        if self.mode is Pii.KEEP or value is None:
            return value
        if self.mode is Pii.DROP:
            return None
        hashed = self.keyed_hash(value)
        return f'"{hashed}"' if is_json else hashed
