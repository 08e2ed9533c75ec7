"""The body of `POST /phone/bulk`: what it has to hold, and the documented 400 for what it lacks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .responses import Response
from .rules import AccountRules


@dataclass(frozen=True)
class Payload:
    """A body that can be accepted.

    searches: as submitted. custom: the batch's own, None if there was none. settings: as submitted.
    """

    searches: tuple[dict[str, Any], ...]
    custom: object
    settings: Mapping[str, Any]


def parse_payload(body: bytes, rules: AccountRules) -> Payload | Response:
    """Return the payload, or the 400 that refuses all of it.

    Documented texts: `Missing payload`, `At least 1 phone search must be present in the payload`, and, seen on the
    e-mail endpoint, `Missing mandatory property on search n°8 of 50`: one bad search refuses the whole batch.
    The text for too many searches is on no page.
    """
    try:
        batch = json.loads(body)
    except ValueError:
        batch = None
    if not isinstance(batch, dict) or not batch:
        return Response.message(400, "Missing payload")
    searches = batch.get("searches")
    if not isinstance(searches, list) or not searches:
        return Response.message(400, "At least 1 phone search must be present in the payload")
    if len(searches) > rules.max_searches:
        return Response.message(400, f"At most {rules.max_searches} phone searches can be present in the payload")
    for number, search in enumerate(searches, 1):
        if not _is_complete(search, sdk_names=rules.sdk_names_allowed):
            return Response.bad_search(number, len(searches))
    settings = batch.get("settings")
    return Payload(tuple(searches), batch.get("custom"), settings if isinstance(settings, dict) else {})


def _is_complete(search: object, *, sdk_names: bool) -> bool:
    # With both a linkedin_url and a name, the URL prevails: it is enough alone.
    if not isinstance(search, dict):
        return False
    filled = {key for key, value in search.items() if isinstance(value, str) and value.strip()}
    if "linkedin_url" in filled:
        return True
    named = {"firstname", "lastname"} <= filled
    if sdk_names:
        named = named or {"first_name", "last_name"} <= filled or "fullname" in filled
    return named and not filled.isdisjoint({"company_domain", "company_name"})
