"""Sessions below `client`: certificates, proxies, redirects, unpacking, and a time limit for each response."""

from __future__ import annotations

import io
import os
import time
import zlib
from collections.abc import Mapping
from functools import cache
from http.client import HTTPResponse
from socket import socket
from typing import TYPE_CHECKING, Any, Final

import requests
from dlt.sources.helpers.requests.session import Session
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from ..settings import RESPONSE_TIMEOUT_FACTOR

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from urllib3 import HTTPConnectionPool
    from urllib3.connection import HTTPConnection

ERRORS: Final = (OSError, HTTPError, zlib.error)
"""What an answer that does not come raises; what requests raises is an `OSError`."""

_ANY_ZLIB: Final = 47
"""zlib's number for: gzip or deflate, whichever it is."""


def open_session(url: str) -> Session:
    """Open a session for requests to `url`; TLS verification is on, and no setting of the machine switches it off."""
    session = _Session()
    # What requests would read from the environment for every request, once; without .netrc.
    session.trust_env = False
    # Unencrypted, the key goes to a loopback address and nowhere else.
    is_encrypted = url.startswith("https:")
    session.proxies = dict(requests.utils.get_environ_proxies(url)) if is_encrypted else {}
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    return session


def prepare_get(url: str, headers: Mapping[str, str]) -> tuple[Session, requests.PreparedRequest]:
    """Return a session, and a GET request that it can send any number of times."""
    session = open_session(url)
    return session, session.prepare_request(requests.Request("GET", url, headers=headers))


class _Session(Session):
    """dlt's session, which does not read redirects, and reads packed bodies as below."""

    def __init__(self) -> None:
        super().__init__(raise_for_status=False)
        self.headers["Accept-Encoding"] = "gzip"
        for scheme in "https://", "http://":
            self.mount(scheme, _Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find none: requests would parse it and read the whole body, even where it must not follow."""


class _Adapter(HTTPAdapter):
    """Connects with the connections below."""

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> HTTPConnectionPool:  # noqa: ANN401 - passed on as they are
        pool = super().get_connection_with_tls_context(*arguments, **options)
        pool.ConnectionCls = _bounded(pool.ConnectionCls)
        return pool


@cache
def _bounded(connection: type[HTTPConnection]) -> type[HTTPConnection]:
    """Bound the answers of the pool's own kind of connection: a recorder of tests has another one."""
    if getattr(connection, "response_class", None) is _BoundedResponse:
        return connection
    return type(connection.__name__, (connection,), {"response_class": _BoundedResponse})


class _BoundedResponse(HTTPResponse):
    """An answer that is complete, headers and body, within a few times the timeout of one read."""

    def __init__(self, sock: socket, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(sock, *arguments, **options)
        limit_s = (sock.gettimeout() or 0.0) * RESPONSE_TIMEOUT_FACTOR
        self.fp = io.BufferedReader(_UntilDeadline(self.fp.detach(), limit_s))


class _UntilDeadline(io.RawIOBase):
    """Reads until the time is up: the timeout of a socket restarts with every byte."""

    def __init__(self, raw: io.RawIOBase, limit_s: float) -> None:
        self._raw, self._limit_s = raw, limit_s
        self._deadline = time.monotonic() + limit_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        size = self._raw.readinto(buffer)
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"the answer was not complete after {self._limit_s:g} s")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class Unpacker:
    """Unpacks a body, of one member or several, as far as `limit` bytes at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._member = zlib.decompressobj(_ANY_ZLIB)
        self.is_inside = False
        """Whether a member has begun and not ended."""

    def unpack(self, packed: bytes) -> bytes:
        """Return what `packed` adds to the body."""
        parts: list[bytes] = []
        while packed:
            parts.append(self._member.decompress(packed, self._limit))
            packed, self.is_inside = self._member.unused_data, not self._member.eof
            if self._member.eof:
                self._member = zlib.decompressobj(_ANY_ZLIB)
        return b"".join(parts)
