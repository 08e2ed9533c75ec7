"""Answers of the API, mutated: as JSON that knows its parts, and as bytes that know nothing.

https://enrow.readme.io
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

from enrow_source.testing import bodies

BATCH_ID: Final = "e3b61122-d6a6-4ea7-b331-9b734682a76a"


class _Token(str):
    """JSON text that is sent as it stands, valid or not."""

    __slots__ = ()


_VALUES: Final = (
    *map(_Token, ("null", "true", "false", "{}", "[]", "[[]]", "[{}]", "[null]", "NaN", "Infinity", "-Infinity")),
    *map(
        _Token, ("0", "-0", "-0.0", "1", "-1", "1.5", "5.0", "1e3", "1E400", "-1e400", "1E+999999999", "1e-999999999")
    ),
    *map(_Token, ("1e-19", "1e99999999999999999999", "9223372036854775807", "9223372036854775808", "01", ".5", "0x10")),
    *map(_Token, ("-9223372036854775808", "-9223372036854775809", "tru", "undefined", "'single'", '{"a":1,"a":2}')),
    *map(_Token, (r'"\ud800"', r'"\udc00\ud800"', r'"\ud83d\ude00"', r'"\u0000"', r'"\\u0000"', r'"\x"', '"\t"')),
    _Token("9" * 5_000),
    _Token("0." + "0" * 500 + "1"),
    _Token("[" * 200 + "]" * 200),
    _Token('{"a":' * 200 + "1" + "}" * 200),
    _Token("[" * 100_000 + "]" * 100_000),
    *("", " ", "0", "5", " 5 ", "1_0", "-7", "1e400", "NaN", "sNaN", "-Infinity", "null", "{}", "\0", "\ufffe"),
    *("completed", "ongoing", "failed", "unknown", "Completed", "found", "not_found", BATCH_ID),
    *("'; DROP TABLE phone_results; --", "a\nb", "\u202e", "x" * 50_000, "\U0001f600"),
)
_KEYS: Final = (
    *("", " ", "_", "__", ".", "a.b", "a__b", "1", "x" * 500, "\0", "\ud800", "\xe9", "\u65e5\u672c", "\U0001f600"),
    *("_dlt_load_id", "_dlt_id", "_dlt_", "_DLT_ID", "batch_id", "fetched_at", "index", "overflow", "params__overflow"),
    *("LinkedIn_URL", "LINKEDIN_URL", "linkedin__url", "params__linkedin_url", "params__params__x", "Index", "number"),
    *("general", "general__id", "stats", "results", "params", "result__index", "custom", "Custom", "status", "id"),
    *('"; DROP TABLE phone_results; --', "select", "valid", "found", "credits_cost", "credits_cost__initial", "final"),
)
_BYTES: Final = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b" "),
    *(rb"\u0000", rb"\ud800", rb"\udfff", rb"\u", b"e9", b"-", b".", b'"id":1,', b'"status":"completed",', b"null"),
)


def answer(seed: int, number: int) -> bytes:
    """Make the answer of that number; the same one for the same seed, in any process."""
    rng = Random(f"{seed}/{number}")
    kind = rng.random()
    if kind < 0.03:
        return rng.randbytes(rng.randrange(200))
    tree = _documented(rng)
    if kind < 0.8:
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            rng.choice(_CHANGES)(tree, rng)
    body = _text(tree, ascii_only=rng.random() < 0.5).encode(errors="surrogatepass")
    if kind > 0.65:
        for _ in range(rng.choice((1, 1, 2, 5))):
            body = _changed(body, rng)
    return body


def _documented(rng: Random) -> Any:
    results = rng.choice((0, 1, 2, 5))
    variants: bodies.Variants = {}
    if rng.random() < 0.5:
        variants = {"credits_as_object": True, "found_key": "valid", "index_as_string": True, "result_custom": {"a": 1}}
    made: Callable[[], bodies.Variants | dict[str, Any]] = rng.choice(
        (
            bodies.documented,
            lambda: bodies.completed(BATCH_ID, results, seed=rng.randrange(100), **variants),
            lambda: bodies.completed(BATCH_ID, results, custom={"team": "north"}),
            lambda: bodies.ongoing(BATCH_ID, 5, results),
            lambda: bodies.failed(BATCH_ID, {"requested": 2}, "empty"),
        )
    )
    return json.loads(json.dumps(made()))


def _text(value: object, *, ascii_only: bool) -> str:
    if isinstance(value, _Token):
        return value
    if isinstance(value, dict):
        items = (
            f"{_text(key, ascii_only=ascii_only)}:{_text(item, ascii_only=ascii_only)}" for key, item in value.items()
        )
        return "{" + ",".join(items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_text(item, ascii_only=ascii_only) for item in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


# Changes of JSON, in place ------------------------------------------------------------------------------------------


def _containers(tree: Any, *kinds: type) -> list[Any]:
    found, waiting = [], [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, kinds or (dict, list)):
            found.append(value)
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return found


def _place(tree: Any, rng: Random) -> tuple[Any, Any] | None:
    filled = [container for container in _containers(tree) if container]
    if not filled:
        return None
    container = rng.choice(filled)
    return container, rng.choice(list(container) if isinstance(container, dict) else range(len(container)))


def _replace(tree: Any, rng: Random) -> None:
    if place := _place(tree, rng):
        place[0][place[1]] = rng.choice(_VALUES)


def _remove(tree: Any, rng: Random) -> None:
    if place := _place(tree, rng):
        del place[0][place[1]]


def _swap(tree: Any, rng: Random) -> None:
    first, second = _place(tree, rng), _place(tree, rng)
    if first and second and not isinstance(first[0][first[1]], dict | list):
        second[0][second[1]] = first[0][first[1]]


def _add_key(tree: Any, rng: Random) -> None:
    if objects := _containers(tree, dict):
        rng.choice(objects)[rng.choice(_KEYS)] = rng.choice(_VALUES)


def _rename(tree: Any, rng: Random) -> None:
    if objects := [found for found in _containers(tree, dict) if found]:
        found = rng.choice(objects)
        found[rng.choice(_KEYS)] = found.pop(rng.choice(list(found)))


def _repeat(tree: Any, rng: Random) -> None:
    if arrays := [found for found in _containers(tree, list) if found]:
        found = rng.choice(arrays)
        found += [_copy(rng.choice(found)) for _ in range(rng.randrange(5))]


def _copy(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else value


def _add_many_keys(tree: Any, rng: Random) -> None:
    if objects := _containers(tree, dict):
        found, first = rng.choice(objects), rng.randrange(1_000)
        found |= {f"k{number}": rng.choice(("", "v", 1)) for number in range(first, first + rng.choice((3, 400)))}


_CHANGES: Final = (_replace, _replace, _replace, _remove, _swap, _add_key, _add_key, _rename, _repeat, _add_many_keys)


# Changes of bytes ---------------------------------------------------------------------------------------------------


def _changed(body: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(body) + 1)
    stop = min(len(body), start + rng.choice((0, 1, 1, 2, 10)))
    kind = rng.randrange(6)
    if kind == 0:
        return body[:start]
    if kind == 1:
        return body[:start] + body[stop:]
    if kind == 2:
        return body[:stop] + body[start:]
    if kind == 3 and start < len(body):
        return body[:start] + bytes([body[start] ^ 1 << rng.randrange(8)]) + body[start + 1 :]
    return body[:start] + rng.choice(_BYTES) + body[stop:]
