"""What the tables must hold, computed from the bodies that were served; shares no code with the package."""

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

Body: TypeAlias = dict[str, Any]
Row: TypeAlias = dict[str, Any]

TABLES = ("batches", "batch_stats", "phone_results", "phone_results_ledger", "batch_errors")

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def rows_of(bodies: Iterable[Body], errors: Iterable[Row] = ()) -> dict[str, list[Row]]:
    """Return the rows of every table, in their order, without nulls and without the two columns that differ by run."""
    rows: dict[str, list[Row]] = {table: [] for table in TABLES}
    for body in bodies:
        general, stats, results = body["general"], body.get("stats") or {}, body.get("results") or []
        key = {"batch_id": general["id"], "status": general["status"]}
        is_completed = general["status"] == "completed"
        rows["batches"].append(key | {"custom": _storable(general.get("custom"))})
        rows["batch_stats"].append(
            key
            | {name: stats.get(name) for name in ("requested", "finished", "found")}
            | {name: _decimal(stats.get(name)) for name in ("credits_cost", "credits_to_refund")}
            | {"results_received": len(results)}
            | {"found_received": sum(result["qualification"] == "found" for result in results)}
        )
        rows["phone_results_ledger"].append(key | {"results_loaded": len(results) if is_completed else 0})
        if is_completed:
            rows["phone_results"] += (_result(general["id"], result) for result in results)
    rows["batch_errors"] = list(errors)
    return {table: in_order(found) for table, found in rows.items()}


def in_order(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Leave out nulls and put the rows into one order, which no destination promises."""
    with_values = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return sorted(with_values, key=lambda row: (row["batch_id"], row.get("index", -1), sorted(map(str, row.items()))))


def decoded(row: Row) -> Row:
    """Decode `custom`: a text column that holds JSON."""
    return row | {"custom": json.loads(row["custom"])} if row.get("custom") is not None else row


def _result(batch_id: str, result: Row) -> Row:
    row = {name: value for name, value in result.items() if name not in ("params", "custom")}
    params = {f"params__{name}": value for name, value in result["params"].items()}
    texts = {name: _text(value) for name, value in (row | params).items() if name != "index"}
    return texts | {"batch_id": batch_id, "index": result["index"], "custom": _storable(result.get("custom"))}


def _text(value: object) -> str | None:
    """Text for every undocumented field: a string as it is, anything else as its JSON."""
    if value is None or isinstance(value, str):
        return None if value is None else _UNSTORABLE.sub("\ufffd", value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _storable(value: Any) -> Any:
    """Put U+FFFD where a character cannot be stored, at any depth."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value


def _decimal(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value)
