"""HTTP/1.1 over loopback sockets: requests in, responses out, with the faults they ask for."""

import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from .responses import Response

_CHUNK = 16_384
_DRIPS_PER_S = 20
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Incoming:
    """A request as received; header names in lower case, the query undecoded."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class LoopbackServer(ThreadingHTTPServer):
    """Serves what `answer` returns on 127.0.0.1, a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Callable[[Incoming], Response]) -> None:
        """Listen at once on `port` (0: any free one) and serve in the background."""
        self.answer = answer
        self.stopping = Event()
        self._open: set[Any] = set()
        self._open_lock = Lock()
        super().__init__(("127.0.0.1", port), _Connection)
        # The interval, in seconds, is what stopping has to wait for.
        self._thread = Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and end every connection, idle and stalled ones too."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._open_lock:
            still_open = list(self._open)
        for connection in still_open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as inherited
        """Remember the connection, so that `stop` can end it."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as inherited
        """Close without the orderly shutdown first, which would turn a reset into a plain end."""
        with self._open_lock:
            self._open.discard(request)
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as inherited
        """Stay quiet when a client has gone; report all else, such as a script's own error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    server: LoopbackServer
    protocol_version = "HTTP/1.1"
    server_version = "SimulatedEnrow"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        address = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(length)
        if len(body) < length:
            # The client went while it sent: no server can act on half a request.
            self.close_connection = True
            return
        incoming = Incoming(self.command, address.path, address.query, headers, body)
        self._send(self.server.answer(incoming))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - found by these names

    def log_message(self, *_: object) -> None:
        """Keep the console quiet; `SimulatedEnrow.requests` has the requests."""

    def _send(self, response: Response) -> None:
        if response.delay_s:
            self.server.stopping.wait(response.delay_s)
        if response.drop is not None:
            self._end(reset=response.drop == "reset")
            return
        payload = response.payload()
        self._send_head(response, len(payload))
        for piece in self._pieces(payload[: response.cut_after], response):
            self.wfile.write(piece)
        if response.cut_after is None:
            if response.chunked:
                self.wfile.write(b"0\r\n\r\n")
            return
        if response.stall_after is not None:
            self._hold()
        self._end(reset=response.reset_after is not None)

    def _end(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def _send_head(self, response: Response, length: int) -> None:
        headers = {
            "server": self.server_version,
            "date": self.date_time_string(),
            "content-type": "application/json; charset=utf-8",
        }
        if response.gzip:
            headers["content-encoding"] = "gzip"
        if response.chunked:
            headers["transfer-encoding"] = "chunked"
        else:
            headers["content-length"] = str(length)
        headers |= {name.lower(): value for name, value in response.headers.items()}
        self.send_response_only(response.status)
        for name, value in headers.items():
            self.send_header(name.title(), value)
        self.end_headers()

    def _pieces(self, body: bytes, response: Response) -> Iterator[bytes]:
        rate = response.drip_bytes_per_s
        size = max(1, int(rate / _DRIPS_PER_S)) if rate else _CHUNK if response.chunked else len(body)
        for start in range(0, len(body), size or 1):
            piece = body[start : start + size]
            if rate:
                self.server.stopping.wait(len(piece) / rate)
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if response.chunked else piece

    def _hold(self) -> None:
        # Reading ends when the client goes or when `stop` shuts the socket.
        with suppress(OSError):
            while self.connection.recv(_CHUNK):
                pass
