"""What becomes of each batch: decided by its number alone, so that the server and the count need not talk.

https://enrow.readme.io
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Final

ATTEMPTS: Final = 2
"""Requests for a batch that goes on failing."""
MAX_RESPONSE_MB: Final = 0.05


@dataclass(frozen=True, slots=True)
class Fate:
    """Where a batch ends: in `batches` with this status, or in `batch_errors` with this kind."""

    status: str | None = None
    kind: str | None = None
    requests: int = 1


COMPLETED: Final = Fate(status="completed")
FATES: Final[dict[str, Fate]] = {
    "ongoing": Fate(status="ongoing"),
    "failed": Fate(status="failed"),
    "500 once": Fate(status="completed", requests=2),
    "429 once": Fate(status="completed", requests=2),
    "closed once": Fate(status="completed", requests=2),
    "400": Fate(kind="expired_or_unknown"),
    "404": Fate(kind="expired_or_unknown"),
    "429": Fate(kind="rate_limited", requests=ATTEMPTS),
    "503": Fate(kind="server_error", requests=ATTEMPTS),
    "closed": Fate(kind="connection", requests=ATTEMPTS),
    "cut": Fate(kind="connection", requests=ATTEMPTS),
    "too large": Fate(kind="too_large"),
    "redirect": Fate(kind="redirect"),
    "403": Fate(kind="unexpected_status"),
    "page": Fate(kind="invalid_response"),
    "another id": Fate(kind="invalid_response"),
    "no array": Fate(kind="invalid_response"),
}
"""1% of the batches each; the others are completed."""
_WAYS: Final = tuple(FATES)


def batch_id(number: int) -> str:
    """Return the id of a batch, in the form that the API gives them."""
    return f"{number:08x}-d6a6-4ea7-b331-9b734682a76a"


def number_of(batch_id: str) -> int:
    """Return the number in an id."""
    return int(batch_id[:8], 16)


def way_of(number: int) -> str | None:
    """Return the name of the way in which a batch is not as the most are; None for those."""
    place = number * 61 % 100  # neighbours go different ways
    return _WAYS[place] if place < len(_WAYS) else None


def fate_of(number: int) -> Fate:
    """Return what is to become of a batch."""
    way = way_of(number)
    return COMPLETED if way is None else FATES[way]


def expected(count: int) -> tuple[Counter[str | None], int]:
    """Return how many of `count` batches end with each status or kind, and the requests that takes."""
    fates = [fate_of(number) for number in range(count)]
    return Counter(fate.status or fate.kind for fate in fates), sum(fate.requests for fate in fates)


def completed(batch_id: str) -> bytes:
    """Return a finished batch of one result."""
    return _COMPLETED.replace(_ID, batch_id.encode())


_ID: Final = b"BATCH-ID"
_COMPLETED: Final = json.dumps(
    {
        "general": {"id": _ID.decode(), "status": "completed"},
        "stats": {"requested": 1, "found": 1, "credits_cost": 40, "credits_to_refund": 0},
        "results": [
            {
                "index": 0,
                "qualification": "found",
                "number": "+12025550100",
                "country": "US",
                "params": {"linkedin_url": "https://www.linkedin.example/in/alma"},
            }
        ],
    }
).encode()
