"""The forms in which pages of the documentation disagree about a finished batch."""

from collections.abc import Mapping
from typing import Literal, TypedDict


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
