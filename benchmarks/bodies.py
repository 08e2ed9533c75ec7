"""The batches that the benchmark serves: one body for each size, in which only the batch id changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

_FOUND_OF_TEN: Final = 6
_CREDITS_PER_PHONE: Final = 40
_AREA_CODES: Final = (212, 303, 312, 404, 415, 503, 512, 602, 617, 702, 713, 808)
_FIRST: Final = ("Ada", "Bruno", "Clara", "Dario", "Edith", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Kira", "Leo")
_LAST: Final = ("Ashdown", "Brook", "Copperfield", "Dunmere", "Eastman", "Fairway", "Greystone", "Hollis", "Ironwood")
_ID: Final = "BATCH-ID"


@dataclass(frozen=True, slots=True)
class Totals:
    """What a contender must have loaded before its time counts."""

    rows: int
    batches: int
    index_sum: int
    found: int
    credits_cost: int


def expected(batches: int, results: int) -> Totals:
    """Return the totals of `batches` batches of `results` results."""
    found = sum(_is_found(index) for index in range(results))
    return Totals(
        rows=batches * results,
        batches=batches,
        index_sum=batches * results * (results - 1) // 2,
        found=batches * found,
        credits_cost=batches * found * _CREDITS_PER_PHONE,
    )


def template(results: int) -> tuple[bytes, bytes]:
    """Return what stands before and after the batch id in a finished batch of `results` results."""
    found = sum(_is_found(index) for index in range(results))
    body = {
        "general": {"id": _ID, "status": "completed"},
        "stats": {
            "requested": results,
            "found": found,
            "credits_cost": found * _CREDITS_PER_PHONE,
            "credits_to_refund": (results - found) * _CREDITS_PER_PHONE,
        },
        "results": [_result(index) for index in range(results)],
    }
    before, after = json.dumps(body, separators=(",", ":")).encode().split(_ID.encode())
    return before, after


def _is_found(index: int) -> bool:
    return index * 7 % 10 < _FOUND_OF_TEN


def _result(index: int) -> dict[str, Any]:
    """Return one result; the numbers are of the ranges kept for fiction."""
    phone: dict[str, Any] = {"qualification": "not_found"}
    if _is_found(index):
        area = _AREA_CODES[index // 100 % len(_AREA_CODES)]
        phone = {"qualification": "found", "number": f"+1{area}55501{index % 100:02}", "country": "US"}
    return {"index": index, **phone, "params": _search(index)}


def _search(index: int) -> dict[str, str]:
    """Return the search as submitted: a profile, or a name with a company's domain or name."""
    first, last = _FIRST[index % len(_FIRST)], _LAST[index // 3 % len(_LAST)]
    if index % 2:
        return {"linkedin_url": f"https://www.linkedin.example/in/{first.lower()}-{last.lower()}-{index}"}
    company = {"company_domain": f"company-{index}.example"} if index % 4 else {"company_name": f"Company {index}"}
    return {"firstname": first, "lastname": last, **company}
