"""Answers of `GET /phone/bulk` as its documentation has them, for Hypothesis. Imports nothing of the package.

https://enrow.readme.io
"""

import json
from typing import Any

from hypothesis import strategies as st

BATCH_ID = "e3b61122-d6a6-4ea7-b331-9b734682a76a"

Json = dict[str, Any]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, json_values, max_size=3)
customs = texts | objects
counts = st.integers(0, 3_000)
credit_amounts = st.integers(0, 150_000) | st.integers(0, 600_000).map(lambda quarters: quarters / 4)

names = st.fixed_dictionaries({"firstname": texts, "lastname": texts})
companies = texts.map(lambda name: {"company_name": name}) | st.just({"company_domain": "acme.example"})
searches = st.builds(lambda name, company: name | company, names, companies) | texts.map(
    lambda name: {"linkedin_url": f"https://www.linkedin.example/in/{name}"}
)
found = st.fixed_dictionaries(
    {
        "qualification": st.just("found"),
        "number": st.integers(0, 99).map(lambda line: f"+120255501{line:02}"),
        "country": st.sampled_from(["US", "CA"]),
        "params": searches,
    },
    optional={"custom": customs},
)
not_found = st.fixed_dictionaries(
    {"qualification": st.just("not_found"), "params": searches},
    optional={"number": st.none(), "country": st.none(), "custom": customs},
)


@st.composite
def payloads(draw: st.DrawFn) -> Json:
    """Draw an answer as the newest pages document it: finished, in progress or failed."""
    status = draw(st.sampled_from(["completed", "ongoing", "failed"]))
    general = {"id": st.just(BATCH_ID), "status": st.just(status)}
    payload: Json = {"general": draw(st.fixed_dictionaries(general, optional={"custom": customs}))}
    if status == "completed":
        results = draw(st.lists(found | not_found, max_size=5))
        payload["results"] = [{"index": position, **result} for position, result in enumerate(results)]
        payload["stats"] = {
            "requested": len(results),
            "found": sum(result["qualification"] == "found" for result in results),
            "credits_cost": draw(credit_amounts),
            "credits_to_refund": draw(credit_amounts),
        }
    elif status == "ongoing":
        payload["stats"] = {"requested": draw(counts), "finished": draw(counts)}
    else:
        stats = {"requested": counts, "found": counts, "credits_cost": credit_amounts, "credits_to_refund": counts}
        parts: Json = {"stats": st.fixed_dictionaries({}, optional=stats), "results": st.none() | st.just([])}
        payload |= draw(st.fixed_dictionaries({}, optional=parts))
    return payload


def as_on_older_pages(payload: Json) -> Json:
    """Say the same in the other words that the documentation has for it."""
    older = json.loads(json.dumps(payload))
    stats = older.get("stats", {})
    if "found" in stats:
        stats["valid"] = stats.pop("found")
    if "credits_cost" in stats:
        stats["credits_cost"] = {"final": stats["credits_cost"]}
        if "credits_to_refund" in stats:
            stats["credits_cost"]["refunded"] = stats.pop("credits_to_refund")
    for result in older.get("results") or []:
        result["index"] = str(result["index"])
    return dict(older)


@st.composite
def payloads_with_own_keys(draw: st.DrawFn) -> Json:
    """Draw a finished answer with keys of the submitter's own in its searches."""
    payload = draw(payloads().filter(lambda payload: payload.get("results")))
    for result in payload["results"]:
        result["params"] |= draw(st.dictionaries(texts, st.none() | texts, max_size=3))
    return payload


@st.composite
def odd_payloads(draw: st.DrawFn) -> Json:
    """Draw an answer with any JSON value in the place of another, or in a field that nobody has documented."""
    payload = draw(payloads())
    odd = json_values | st.sampled_from(["NaN", "-Infinity", "1e400", "1_0", "", "\0", "\ud800", 10**400, -(2**63) - 1])
    containers: list[Any] = [payload]
    for container in containers:
        inner = container.values() if isinstance(container, dict) else container
        containers += [value for value in inner if isinstance(value, dict | list) and value]
    container = draw(st.sampled_from(containers))
    key = draw(st.sampled_from([*container, "new"]) if isinstance(container, dict) else st.just(-1))
    container[key] = draw(odd)
    return payload


bodies = st.builds(
    lambda payload, spaces, ascii_only: json.dumps(payload, indent=spaces, ensure_ascii=ascii_only).encode(),
    payloads(),
    st.sampled_from([None, 1]),
    st.booleans(),
)
odd_bodies = odd_payloads().map(lambda payload: json.dumps(payload).encode())


@st.composite
def broken_bodies(draw: st.DrawFn) -> bytes:
    """Draw a body of which a part was lost or overwritten on its way."""
    body = draw(bodies | odd_bodies)
    start = draw(st.integers(0, len(body)))
    stop = draw(st.integers(start, start + 3) | st.just(len(body)))
    return body[:start] + draw(st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"}", b"\\", b","])) + body[stop:]
