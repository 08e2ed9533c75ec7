"""Bodies of the documented responses, as dicts: pure functions of a seed and a batch id, no clock.

Where pages of the documentation disagree, the plain form is the default and each other form is
one key of `Variants`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

from .fictional import generator, phones, spelled
from .fictional import searches as searches  # noqa: PLC0414 - part of this module too

Body = dict[str, Any]

MAX_RESULTS = 3_000
"""Searches that one batch holds at most."""
CREDITS_PER_PHONE = 40
"""Credits for a phone that is found; one that is not found costs nothing."""
FOUND_SHARE = 0.6
"""Share of searches, from 0 to 1, that find a phone by default."""
DOCUMENTED_ID = "e3b61122-d6a6-4ea7-b331-9b734682a76a"
"""The batch of the documentation's own example."""


class Extra(TypedDict, total=False):
    """Undocumented fields to add, by level; `top` is beside `general`."""

    top: Mapping[str, object]
    general: Mapping[str, object]
    stats: Mapping[str, object]
    result: Mapping[str, object]
    params: Mapping[str, object]


class Variants(TypedDict, total=False):
    """How a finished batch departs from the plain form, one key for each contradiction.

    found_key: name of the count of phones found; older pages say `valid`.
    custom: `general.custom`, an object or, on older pages, a string.
    result_custom: `results[].custom`, the same for every result.
    index_as_string: `results[].index` is a numeric string.
    without_refund: no `stats.credits_to_refund`, as on older pages.
    null_when_not_found: `number` and `country` are null rather than absent.
    credits_as_object: `stats.credits_cost` is `{initial, refunded, final}`.
    credits_per_phone: 40, or 50 on older plans.
    gross_cost: `stats.credits_cost` is gross of `credits_to_refund`; which it is, is documented nowhere.
    credits_cost: `stats.credits_cost` as it stands, such as 0.30000000000000004.
    status_text: `general.status` in other words, such as `Completed` or `done`; not documented.
    name_keys: how `params` spells a name, if not `firstname` and `lastname`: as vendor SDKs send it.
    with_email: `params` holds an `email` too; later API versions may add keys.
    extra: undocumented fields.
    """

    found_key: Literal["found", "valid"]
    custom: str | Mapping[str, object]
    result_custom: str | Mapping[str, object]
    index_as_string: bool
    without_refund: bool
    null_when_not_found: bool
    credits_as_object: bool
    credits_per_phone: int
    gross_cost: bool
    credits_cost: object
    status_text: str
    name_keys: Literal["first_name", "fullname"]
    with_email: bool
    extra: Extra


def refuse_unknown(variants: Variants) -> None:
    """Raise TypeError for a misspelt variant, which would quietly test the plain form."""
    unknown = variants.keys() - Variants.__annotations__.keys()
    unknown |= variants.get("extra", {}).keys() - Extra.__annotations__.keys()
    if unknown:
        raise TypeError(f"no such variant: {', '.join(sorted(unknown))}")


def completed(
    batch_id: str,
    results: int = MAX_RESULTS,
    found_share: float = FOUND_SHARE,
    seed: int = 0,
    **variants: Unpack[Variants],
) -> Body:
    """Return a finished batch of `results` invented searches."""
    submitted = searches(batch_id, results, seed)
    return answering(batch_id, submitted, found_share, seed, **variants)


def answering(
    batch_id: str,
    submitted: Sequence[Mapping[str, object]],
    found_share: float = FOUND_SHARE,
    seed: int = 0,
    **variants: Unpack[Variants],
) -> Body:
    """Return the finished batch for these searches, of which round(share * count) find a phone."""
    refuse_unknown(variants)
    found = round(len(submitted) * found_share)
    extra = variants.get("extra", {})
    general: Body = {"id": batch_id, "status": variants.get("status_text", "completed")}
    if "custom" in variants:
        general["custom"] = variants["custom"]
    return {
        "general": {**general, **extra.get("general", {})},
        "stats": {**_stats(len(submitted), found, variants), **extra.get("stats", {})},
        "results": _results(batch_id, submitted, found, seed, variants),
        **extra.get("top", {}),
    }


def ongoing(batch_id: str, requested: int, finished: int) -> Body:
    """Return a batch in progress: `finished` of its `requested` searches are done."""
    return {
        "general": {"id": batch_id, "status": "ongoing"},
        "stats": {"requested": requested, "finished": finished},
    }


def failed(
    batch_id: str,
    stats: Mapping[str, object] | None = None,
    results: Literal["absent", "null", "empty"] = "absent",
) -> Body:
    """Return a failed batch; its body is not documented beyond the status, hence the choices."""
    body: Body = {"general": {"id": batch_id, "status": "failed"}}
    if stats is not None:
        body["stats"] = dict(stats)
    if results != "absent":
        body["results"] = None if results == "null" else []
    return body


def documented() -> Body:
    """Return the documentation's example of a finished batch, its values unchanged."""
    found = (("+15705551234", "michael-scott"), ("+15705555678", "dwight-schrute"))
    return {
        "general": {"id": DOCUMENTED_ID, "status": "completed"},
        "results": [
            {
                "country": "US",
                "index": index,
                "number": number,
                "params": {"linkedin_url": f"https://www.linkedin.com/in/{profile}"},
                "qualification": "found",
            }
            for index, (number, profile) in enumerate(found)
        ],
        "stats": {"credits_cost": 80, "credits_to_refund": 0, "found": 2, "requested": 2},
    }


def _stats(requested: int, found: int, variants: Variants) -> Body:
    each = variants.get("credits_per_phone", CREDITS_PER_PHONE)
    cost, refund = each * found, each * (requested - found)
    if variants.get("gross_cost"):
        cost += refund
    stats: Body = {"credits_cost": cost, "credits_to_refund": refund, "requested": requested}
    stats[variants.get("found_key", "found")] = found
    if variants.get("credits_as_object"):
        stats["credits_cost"] = {"initial": each * requested, "refunded": refund, "final": each * found}
    if "credits_cost" in variants:
        stats["credits_cost"] = variants["credits_cost"]
    if variants.get("without_refund"):
        del stats["credits_to_refund"]
    return stats


def _results(
    batch_id: str,
    submitted: Sequence[Mapping[str, object]],
    found: int,
    seed: int,
    variants: Variants,
) -> list[Body]:
    positions = generator(seed, batch_id, "found").sample(range(len(submitted)), found)
    phone_at = dict(zip(positions, phones(batch_id, found, seed), strict=True))
    results = []
    for index, search in enumerate(submitted):
        result: Body = {"index": index, "qualification": "not_found"}
        if index in phone_at:
            result["qualification"] = "found"
            result["number"], result["country"] = phone_at[index]
        elif variants.get("null_when_not_found"):
            result["number"] = result["country"] = None
        params = result["params"] = dict(search)
        # A search is submitted with its reference inside and answered with it beside `params`.
        if "custom" in params:
            result["custom"] = params.pop("custom")
        results.append(result)
    return _varied(results, variants)


def _varied(results: list[Body], variants: Variants) -> list[Body]:
    extra = variants.get("extra", {})
    for result in results:
        if variants.get("index_as_string"):
            result["index"] = str(result["index"])
        if "result_custom" in variants:
            result["custom"] = variants["result_custom"]
        result["params"] = spelled(result["params"], variants.get("name_keys"))
        if variants.get("with_email"):
            result["params"]["email"] = f"person-{result['index']}@mail.example"
        result["params"].update(extra.get("params", {}))
        result.update(extra.get("result", {}))
    return results
