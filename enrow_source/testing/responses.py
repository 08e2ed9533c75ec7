"""One response of the simulated API: what it says, and how it behaves on the wire."""

import gzip
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal, Self, TypeAlias

WaitForm: TypeAlias = Literal["none", "header", "date", "body", "reset", "reset_time"]
"""How a 429 gives the wait: not at all, as on current pages; `Retry-After` in seconds or as an HTTP date; `retry_after`
in the body, as on older pages; `X-RateLimit-Reset` alone, whose unit is on no page: seconds, or a Unix time."""


@dataclass(frozen=True)
class Response:
    """A response, with faults of the connection on request.

    status: HTTP status code.
    body: anything that JSON can hold, or bytes to be sent as they are.
    headers: added to, or replacing, the usual ones.
    delay_s: seconds of silence before the first byte.
    chunked: no Content-Length, but chunked transfer encoding.
    gzip: the body is compressed, whatever the client accepts.
    truncate_after: bytes of the body after which the connection closes too early.
    reset_after: the same, closed with a TCP reset.
    stall_after: bytes of the body after which nothing more comes, on a connection that stays open.
    drip_bytes_per_s: the body comes slowly, at about this rate.
    drop: the connection ends, closed or reset, without a byte of the response; its status is 0.

    `truncate_after`, `reset_after` and `stall_after` announce the full body and exclude each
    other.
    """

    status: int = 200
    body: object = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    chunked: bool = False
    gzip: bool = False
    truncate_after: int | None = None
    reset_after: int | None = None
    stall_after: int | None = None
    drip_bytes_per_s: float | None = None
    drop: Literal["close", "reset"] | None = None

    def __post_init__(self) -> None:
        """Refuse two endings at once, and a rate at which nothing would ever arrive."""
        endings = (self.truncate_after, self.reset_after, self.stall_after)
        if sum(ending is not None for ending in endings) > 1:
            raise ValueError("choose one of truncate_after, reset_after and stall_after")
        if self.drip_bytes_per_s is not None and self.drip_bytes_per_s <= 0:
            raise ValueError("drip_bytes_per_s must be above 0")

    @property
    def cut_after(self) -> int | None:
        """Bytes of the body that are sent before the connection breaks; None if it does not."""
        for ending in (self.truncate_after, self.reset_after, self.stall_after):
            if ending is not None:
                return ending
        return None

    def payload(self) -> bytes:
        """Return the bytes of the whole body, compressed if so asked."""
        plain = self.body if isinstance(self.body, bytes) else encoded(self.body)
        return gzip.compress(plain, mtime=0) if self.gzip else plain

    @classmethod
    def message(cls, status: int, text: str) -> Self:
        """Return an error in the shape that all documented errors have."""
        return cls(status, {"message": text})

    @classmethod
    def no_key(cls) -> Self:
        """401: the request has no x-api-key header, or an empty one."""
        return cls.message(401, "No apikey found in the x-api-key headers")

    @classmethod
    def bad_key(cls) -> Self:
        """401: the key is not a known one."""
        return cls.message(401, "This apikey is not valid")

    @classmethod
    def missing_id(cls) -> Self:
        """400: the batch id is missing or empty."""
        return cls.message(400, "Missing id in the query params")

    @classmethod
    def unreadable(cls) -> Self:
        """400: the batch is unknown or cannot be read."""
        return cls.message(400, "Could not retrieve bulk search results")

    @classmethod
    def not_found(cls) -> Self:
        """404: the batch is unknown, as older pages have it."""
        return cls.message(404, "Bulk search not found")

    @classmethod
    def bad_search(cls, number: int, count: int) -> Self:
        """400: search `number`, from 1, of `count` lacks what it needs; seen on the e-mail endpoint."""
        return cls.message(400, f"Missing mandatory property on search n°{number} of {count}")

    @classmethod
    def not_allowed(cls) -> Self:
        """401: the key is right, the plan lacks phones; seen by a third party's client on the POST."""
        return cls.message(401, "This account is not allowed to use the phone search feature")

    @classmethod
    def out_of_credits(cls, status: Literal[402, 422] = 402, shape: Literal["message", "reason"] = "message") -> Self:
        """402, or 422 on older pages: the account cannot pay.

        shape: `{"message": ...}`, or `{"reason": ..., "success": false}` as on the single endpoints. The text of a 402
        with a message is not documented.
        """
        if shape == "reason":
            reason = "Insufficient credits" if status == 402 else "Insufficient balance"  # noqa: PLR2004 - an HTTP status
            return cls(status, {"reason": reason, "success": False})
        return cls.message(status, "Not enough credits" if status == 402 else "Insufficient balance")  # noqa: PLR2004 - as above

    @classmethod
    def server_error(cls, status: int = 500) -> Self:
        """5xx: a fault on the vendor's side; the text is not documented."""
        return cls.message(status, "Internal server error")

    @classmethod
    def rate_limited(cls, retry_after: int | str | None = 1, *, in_body: bool = False) -> Self:
        """429, with the Retry-After and X-RateLimit-* headers.

        retry_after: seconds, an HTTP date, or None for no such header. `in_body` repeats
        seconds in the body, as older pages do.
        """
        headers = {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0"}
        body: dict[str, object] = {"message": "Too Many Requests"}
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        if isinstance(retry_after, int):
            headers["X-RateLimit-Reset"] = str(retry_after)
        if in_body:
            if not isinstance(retry_after, int):
                raise ValueError("the body gives retry_after in seconds")
            body["retry_after"] = retry_after
        return cls(429, body, headers)

    @classmethod
    def rate_limited_as(cls, form: WaitForm, wait_s: float = 1.0) -> Self:
        """429 that gives the wait in one documented form and in no other; whole seconds, rounded up."""
        wait = math.ceil(wait_s)
        body: dict[str, object] = {"message": "Too Many Requests"}
        headers: dict[str, str] = {}
        if form == "header":
            headers["Retry-After"] = str(wait)
        elif form == "date":
            headers["Retry-After"] = formatdate(math.ceil(time.time() + wait_s), usegmt=True)
        elif form == "body":
            body["retry_after"] = wait
        elif form in {"reset", "reset_time"}:
            reset = wait if form == "reset" else math.ceil(time.time() + wait_s)
            headers = {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
        return cls(429, body, headers)

    @classmethod
    def dropped(cls, how: Literal["close", "reset"] = "close") -> Self:
        """No response: the connection ends after the request was read."""
        return cls(0, drop=how)

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Self:
        """3xx to another address; not documented, but what a proxy or a moved host does."""
        return cls(status, headers={"Location": location})


def encoded(body: object) -> bytes:
    """Return the body as compact JSON in UTF-8."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
