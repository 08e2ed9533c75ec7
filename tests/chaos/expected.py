"""The rows that must be there: made of the bodies that the API served, with json and dicts alone.

It shares nothing with the parser and the tables of `enrow_source`, so that both cannot be wrong in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from .scenario import Body, Served

Row = dict[str, Any]
"""A row by the names of its columns, without those that are null."""

KNOWN_STATS: Final = ("requested", "finished", "found", "credits_cost", "credits_to_refund")


def expected_rows(answers: Iterable[Served]) -> dict[str, list[Row]]:
    """Return the rows of each table that is a function of the last good answer for each batch."""
    last: dict[str, Body] = {}
    for answer in answers:
        if answer.body is not None:
            last[answer.batch_id] = answer.body
    tables: dict[str, list[Row]] = {"batches": [], "batch_stats": [], "phone_results": [], "phone_results_ledger": []}
    for batch_id, body in last.items():
        same = {"batch_id": batch_id, "status": body["general"]["status"]}
        results = body["results"] or []
        ended = same["status"] in ("completed", "failed")
        tables["batches"].append(_row(same, _fields(body["general"], "id", "status")))
        received = {
            "results_received": len(results),
            "found_received": sum(result["qualification"] == "found" for result in results),
        }
        tables["batch_stats"].append(_row(same, received, _fields(body.get("stats") or {})))
        tables["phone_results_ledger"].append(_row(same, {"results_loaded": len(results) if ended else 0}))
        for result in results if ended else ():
            params = {f"params__{key}": value for key, value in result["params"].items()}
            tables["phone_results"].append(_row({"batch_id": batch_id}, _fields(result, "params"), _fields(params)))
    return tables


def _fields(found: Mapping[str, Any], *without: str) -> Row:
    return {key: _value(key, value) for key, value in found.items() if key not in without}


def _value(key: str, value: object) -> object:
    if key == "custom":
        return canonical(value)
    if key in ("index", *KNOWN_STATS) or isinstance(value, str | None):
        return value
    return json.dumps(value, separators=(",", ":"))  # a field that is not documented: text


def _row(*parts: Row) -> Row:
    return {key: value for part in parts for key, value in part.items() if value is not None}


def canonical(value: object) -> str:
    """Return JSON text that is equal for equal values."""
    return json.dumps(value, sort_keys=True)
