"""Answers `GET /phone/bulk?id=...` from bodies made beforehand, in a process of its own: it is not what is measured.

`python -m benchmarks.server FIRST BATCHES RESULTS LATENCY_S` makes the bodies of so many batches, prints its port, and
serves until its standard input is closed. `GET /count` answers how many batches were asked for so far.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import selectors
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .bodies import batch_id, body

_END_OF_REQUEST: Final = b"\r\n\r\n"
_BATCH: Final = b"GET /phone/bulk?id="
_READ_BYTES: Final = 1 << 16


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    received: bytes = b""
    unsent: list[memoryview] = field(default_factory=list)


class Server:
    """One thread, many kept-alive connections; each answer goes out `latency_s` after its request came in."""

    def __init__(self, bodies: Mapping[bytes, bytes], latency_s: float) -> None:
        self._bodies = bodies
        self._latency_s = latency_s
        self._count = 0
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, _Connection, bytes]] = []
        self._order = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.settimeout(0)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Answer until standard input is closed."""
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            wait_s = max(self._due[0][0] - time.monotonic(), 0) if self._due else None
            for key, events in self._selector.select(wait_s):
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif events & selectors.EVENT_READ:
                    self._read(key.data)
                else:
                    self._send(key.data)
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, connection, asked = heapq.heappop(self._due)
                self._start(connection, self._bodies[asked])

    def _accept(self) -> None:
        accepted, _ = self._listener.accept()
        accepted.settimeout(0)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(accepted, selectors.EVENT_READ, _Connection(accepted))

    def _read(self, connection: _Connection) -> None:
        try:
            received = connection.socket.recv(_READ_BYTES)
        except ConnectionError:
            received = b""
        if not received:
            self._close(connection)
            return
        connection.received += received
        while _END_OF_REQUEST in connection.received:
            request, connection.received = connection.received.split(_END_OF_REQUEST, 1)
            if not request.startswith(_BATCH):
                self._start(connection, str(self._count).encode())
                continue
            self._count += 1
            asked = request[len(_BATCH) : request.index(b" ", len(_BATCH))]
            if self._latency_s:
                due = time.monotonic() + self._latency_s
                heapq.heappush(self._due, (due, next(self._order), connection, asked))
            else:
                self._start(connection, self._bodies[asked])

    def _start(self, connection: _Connection, answer: bytes) -> None:
        length = len(answer)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()
        connection.unsent += [memoryview(head), memoryview(answer)]
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        try:
            sent = connection.socket.sendmsg(connection.unsent)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            self._close(connection)
            return
        while connection.unsent and sent >= len(connection.unsent[0]):
            sent -= len(connection.unsent.pop(0))
        if connection.unsent:
            connection.unsent[0] = connection.unsent[0][sent:]
        awaited = selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ
        if self._selector.get_key(connection.socket).events != awaited:
            self._selector.modify(connection.socket, awaited, connection)

    def _close(self, connection: _Connection) -> None:
        if connection.socket.fileno() != -1:
            self._selector.unregister(connection.socket)
            connection.socket.close()


def main() -> None:
    """Make so many batches of so many results, and serve them with so much latency."""
    first, batches, results = map(int, sys.argv[1:4])
    latency_s = float(sys.argv[4])
    gc.disable()  # it would walk through the bodies again and again, beside what is measured
    server = Server(
        {batch_id(number).encode(): body(number, results) for number in range(first, first + batches)}, latency_s
    )
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve()


if __name__ == "__main__":
    main()
