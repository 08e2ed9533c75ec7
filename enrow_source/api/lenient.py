"""A response of any other shape, field by field: keeps what is undocumented, names what is invalid."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from msgspec import Raw

from ..errors import InvalidResponseError
from ..settings import RESULTS_LIMIT
from .models import Batch, Results, Stats
from .strict import PARAMS, RESULT_FIELDS
from .values import (
    ARRAY,
    NULL,
    TextColumns,
    check_id,
    decode,
    decode_decimal,
    decode_integer,
    decode_object,
    decode_string,
    json_text,
    text_of,
    texts_of,
)

Value = TypeVar("Value")


def parse_leniently(batch_id: str, body: bytes) -> Batch:
    """Parse a body of any shape; raises InvalidResponseError that names the field that makes it useless."""
    top = decode_object(Raw(body), "the body")
    if "general" not in top:
        raise InvalidResponseError("general is missing")
    general = decode_object(top.pop("general"), "general")
    check_id(batch_id, decode_string(general.pop("id", NULL), "general.id"))
    status = decode_string(general.pop("status", NULL), "general.status")
    if status is None:
        raise InvalidResponseError("general.status is missing")
    invalid: list[str] = []
    return Batch(
        batch_id=batch_id,
        status=status,
        custom=json_text(general.pop("custom", NULL)),
        stats=_stats(top.pop("stats", NULL), invalid),
        results=_results(top.pop("results", NULL)),
        unknown=texts_of(general),
        undocumented_top=texts_of(top),
        invalid_stats=tuple(invalid),
    )


def _stats(raw: Raw, invalid: list[str]) -> Stats:
    """Decode what stands beside the results; a value that cannot be is None, and `invalid` says why."""

    def side(decode: Callable[[Raw, str], Value | None], value: Raw, where: str) -> Value | None:
        try:
            return decode(value, where)
        except InvalidResponseError as error:
            invalid.append(str(error))
            return None

    stats = side(decode_object, raw, "stats") or {}
    cost = stats.get("credits_cost", NULL)
    if bytes(cost)[:1] == b"{":
        # The shape of the email endpoint, {initial, refunded, final}: final is what the batch consumed.
        parts = side(decode_object, cost, "stats.credits_cost") or {}
        stats["credits_cost"] = parts.pop("final", NULL)
        if "credits_to_refund" not in stats:
            stats["credits_to_refund"] = parts.pop("refunded", NULL)
        stats = {f"credits_cost__{key}": value for key, value in parts.items()} | stats
    if "found" not in stats and "valid" in stats:
        stats["found"] = stats.pop("valid")  # older pages
    return Stats(
        requested=side(decode_integer, stats.pop("requested", NULL), "stats.requested"),
        finished=side(decode_integer, stats.pop("finished", NULL), "stats.finished"),
        found=side(decode_integer, stats.pop("found", NULL), "stats.found"),
        credits_cost=side(decode_decimal, stats.pop("credits_cost", NULL), "stats.credits_cost"),
        credits_to_refund=side(decode_decimal, stats.pop("credits_to_refund", NULL), "stats.credits_to_refund"),
        unknown=texts_of(stats),
    )


def _results(raw: Raw) -> Results:
    rows = decode(ARRAY, raw, "results", f"an array of at most {RESULTS_LIMIT:,} results") or []
    index: list[int | None] = [None] * len(rows)
    fields, params = TextColumns(len(rows), RESULT_FIELDS), TextColumns(len(rows), PARAMS)
    for row, body in enumerate(rows):
        where = f"results[{row}]"
        result = decode_object(body, where, nullable=False)
        index[row] = decode_integer(result.pop("index", NULL), f"{where}.index")
        for key, value in decode_object(result.pop("params", NULL), f"{where}.params").items():
            params.put(row, key, text_of(value))
        for key, value in result.items():
            if key == "custom":
                fields.put(row, key, json_text(value))
            elif key in RESULT_FIELDS:
                fields.put(row, key, decode_string(value, f"{where}.{key}"))
            else:
                fields.put(row, key, text_of(value))
    found = fields.columns["qualification"].count("found")
    return Results(len(rows), found, index, fields.columns, params.columns, fields.more, params.more)
