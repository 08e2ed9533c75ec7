"""What can go wrong with one POST that spends credits, and the plan of which POST it happens to.

Either the batch is accepted and the client does not learn it, or nothing is accepted. There is no idempotency key and
no way to find a batch whose 201 was lost but its webhook event and the `general.custom` of its GET, as documented.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from threading import Lock
from typing import TypeAlias

from .responses import Response

SLOW_S = 60.0
"""Seconds of a slow fault that names none."""


@dataclass(frozen=True)
class PostFault:
    """What goes wrong with one POST.

    accepts: the batch is accepted, its credits are held, and only the response is not what it should be.
    respond: makes the response from the one that the API would have given (an empty 200 where nothing is accepted) and
    the number of searches. before_s: seconds before the POST is read.
    """

    name: str
    accepts: bool
    respond: Callable[[Response, int], Response]
    before_s: float = 0.0


FaultLike: TypeAlias = PostFault | Response | str | None
"""A fault, its name, a response that refuses the POST, or None (as text: `none`) for a POST that goes well."""

_HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
_AS_HTML = {"Content-Type": "text/html"}
_ACCEPTING: dict[str, Callable[[Response], Response]] = {
    "accept-then-drop": lambda _: Response.dropped(),
    "accept-then-reset": lambda _: Response.dropped("reset"),
    "accept-then-500": lambda _: Response.server_error(),
    "accept-then-502": lambda _: Response(502, _HTML, _AS_HTML),
    "accept-then-503": lambda _: Response.server_error(503),
    "accept-unreadable": lambda honest: Response(honest.status, _HTML, _AS_HTML),
    "accept-without-id": lambda honest: replace(honest, body=_without_id(honest.body)),
    "accept-empty": lambda honest: Response(honest.status),
    "accept-truncated": lambda honest: replace(honest, truncate_after=len(honest.payload()) // 2),
}
_REFUSING: dict[str, Callable[[], Response]] = {
    "refuse-then-drop": Response.dropped,
    "refuse-then-reset": lambda: Response.dropped("reset"),
    "refuse-401": Response.bad_key,
    "refuse-not-allowed": Response.not_allowed,
    "refuse-402": Response.out_of_credits,
    "refuse-402-reason": lambda: Response.out_of_credits(shape="reason"),
    "refuse-422": lambda: Response.out_of_credits(422),
    "refuse-500": Response.server_error,
    "refuse-503": lambda: Response.server_error(503),
}
_WITH_NUMBER: dict[str, tuple[float, Callable[[str, float], PostFault]]] = {
    "accept-slowly": (
        SLOW_S,
        lambda name, seconds: PostFault(name, True, lambda honest, _: replace(honest, delay_s=seconds)),  # noqa: FBT003
    ),
    "slow-then-accept": (
        SLOW_S,
        lambda name, seconds: PostFault(name, True, lambda honest, _: honest, before_s=seconds),  # noqa: FBT003
    ),
    "refuse-429": (
        1,
        lambda name, wait: PostFault(name, False, lambda *_: Response.rate_limited_as("header", wait)),  # noqa: FBT003
    ),
    "refuse-search": (
        1,
        lambda name, row: PostFault(name, False, lambda _, count: Response.bad_search(int(row), count)),  # noqa: FBT003
    ),
}
FAULT_NAMES = (*_ACCEPTING, *_REFUSING, *(f"{name}:NUMBER" for name in _WITH_NUMBER))
"""Names of the faults; a number is optional: seconds, or for `refuse-search` the search that is refused, from 1."""


def post_fault(name: str) -> PostFault:
    """Return the fault of that name, such as `accept-then-drop`, `accept-slowly:5`, `refuse-search:8`.

    Raises ValueError, which lists the names, for another one.
    """
    kind, _, number = name.partition(":")
    if name in _ACCEPTING:
        spoil = _ACCEPTING[name]
        return PostFault(name, accepts=True, respond=lambda honest, _: spoil(honest))
    if name in _REFUSING:
        refuse = _REFUSING[name]
        return PostFault(name, accepts=False, respond=lambda *_: refuse())
    if kind in _WITH_NUMBER:
        usual, make = _WITH_NUMBER[kind]
        try:
            return make(name, float(number) if number else usual)
        except ValueError:
            raise ValueError(f"{number!r} in the fault {name!r} is not a number") from None
    raise ValueError(f"no such fault: {name!r}; choose from none, {', '.join(FAULT_NAMES)}")


class FaultPlan:
    """Decides what goes wrong with each POST: first as scripted, then by chance. Safe from any thread."""

    def __init__(self, seed: int) -> None:
        """Start without faults; `seed` and the number of a POST decide what chance does to it."""
        self._seed = seed
        self._script: deque[PostFault | None] = deque()
        self._chances: tuple[tuple[PostFault, float], ...] = ()
        self._lock = Lock()

    def script(self, *faults: FaultLike) -> None:
        """Let these happen to the next POSTs, one each, after those that are scripted already."""
        named = [_resolved(fault) for fault in faults]
        with self._lock:
            self._script.extend(named)

    def by_chance(self, shares: Mapping[str, float]) -> None:
        """Let these happen to this share of the POSTs that are not scripted, from 0 to 1 together."""
        if any(share < 0 for share in shares.values()) or sum(shares.values()) > 1 + 1e-9:
            raise ValueError(f"the shares of faults must be from 0 to 1 together, not {dict(shares)}")
        self._chances = tuple((post_fault(name), share) for name, share in shares.items())

    def take(self, post: int) -> PostFault | None:
        """Return what goes wrong with POST number `post`."""
        with self._lock:
            if self._script:
                return self._script.popleft()
        drawn = Random(f"{self._seed}/fault/{post}").random()
        for fault, share in self._chances:
            drawn -= share
            if drawn < 0:
                return fault
        return None


def _resolved(fault: FaultLike) -> PostFault | None:
    if isinstance(fault, Response):
        return PostFault(f"refuse-with-{fault.status}", accepts=False, respond=lambda *_: fault)
    if isinstance(fault, str):
        return None if fault == "none" else post_fault(fault)
    return fault


def _without_id(body: object) -> object:
    return {key: value for key, value in body.items() if key != "id"} if isinstance(body, dict) else body
