"""`python -m tests.soak.server`: prints its port, and answers for every batch until its standard input is closed.

Then it prints how many requests there were.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Final

from . import batches

_END_OF_REQUEST: Final = b"\r\n\r\n"
_BATCH: Final = b"GET /phone/bulk?id="

Response = bytes | None
"""What goes out; None closes the connection without a word."""


def _response(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _message(status: str, text: str, *headers: str) -> bytes:
    return _response(status, json.dumps({"message": text}).encode(), *headers)


def _general(batch_id: str, status: str) -> bytes:
    body = {"general": {"id": batch_id, "status": status}, "stats": {"requested": 1, "finished": 0}}
    return _response("200 OK", json.dumps(body).encode())


def _well(batch_id: str) -> bytes:
    return _response("200 OK", batches.completed(batch_id))


_TOO_MANY: Final[bytes] = _message("429 Too Many Requests", "Too Many Requests", "Retry-After: 0")
_TOO_LARGE: Final[bytes] = _response("200 OK", b" " * int(batches.MAX_RESPONSE_MB * 1_000_000 + 1))
_WAYS: Final[dict[str, Callable[[str, int], Response]]] = {
    "ongoing": lambda batch_id, _: _general(batch_id, "ongoing"),
    "failed": lambda batch_id, _: _general(batch_id, "failed"),
    "500 once": lambda batch_id, fetch: _well(batch_id) if fetch else _message("500 Internal Server Error", "a fault"),
    "429 once": lambda batch_id, fetch: _well(batch_id) if fetch else _TOO_MANY,
    "closed once": lambda batch_id, fetch: _well(batch_id) if fetch else None,
    "400": lambda *_: _message("400 Bad Request", "Could not retrieve bulk search results"),
    "404": lambda *_: _message("404 Not Found", "Bulk search not found"),
    "429": lambda *_: _TOO_MANY,
    "503": lambda *_: _message("503 Service Unavailable", "a fault"),
    "closed": lambda *_: None,
    "cut": lambda batch_id, _: _response("200 OK", batches.completed(batch_id)[:50], length=300),
    "too large": lambda *_: _TOO_LARGE,
    "redirect": lambda *_: _response("302 Found", b"", "Location: http://other.example/"),
    "403": lambda *_: _message("403 Forbidden", "Forbidden"),
    "page": lambda *_: _response("200 OK", b"<!doctype html><title>Be right back</title>"),
    "another id": lambda *_: _well("another"),
    "no array": lambda batch_id, _: _well(batch_id).replace(b"[{", b" {").replace(b"}]", b"} "),
}
_FETCHES: Final[Counter[str]] = Counter()
"""Fetches of the batches whose answer changes, and of all together."""
_ALL: Final = "all"


def _answer(batch_id: str) -> tuple[Response, bool]:
    """Answer one request; tell whether the connection stays open."""
    _FETCHES[_ALL] += 1
    way = batches.way_of(batches.number_of(batch_id))
    if way is None:
        return _well(batch_id), True
    fetch = 0
    if way.endswith(" once"):
        fetch = _FETCHES[batch_id]
        _FETCHES[batch_id] += 1
    answer = _WAYS[way](batch_id, fetch)
    return answer, answer is not None and way != "cut"


class _Connection(asyncio.Protocol):
    _transport: asyncio.Transport
    _received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while _END_OF_REQUEST in self._received:
            request, _, self._received = self._received.partition(_END_OF_REQUEST)
            batch_id = request[len(_BATCH) : request.index(b" ", len(_BATCH))].decode()
            answer, stays_open = _answer(batch_id)
            if answer is not None:
                self._transport.write(answer)
            if not stays_open:
                self._transport.close()
                return


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
    sys.stdout.write(f"{_FETCHES[_ALL]}\n")
