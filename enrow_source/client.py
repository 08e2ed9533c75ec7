"""HTTP: one GET for one batch, with the key, the retries and the meaning of each status code."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address
from threading import Event, Lock, local
from typing import TYPE_CHECKING, Final, NoReturn, Self
from urllib.parse import urlsplit

import msgspec
import tenacity
from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.specs import RuntimeConfiguration

from .errors import (
    BatchError,
    ConfigurationError,
    ErrorKind,
    InvalidApiKeyError,
    OutOfCreditsError,
    RequestFailedError,
)
from .settings import (
    ACCOUNT_PATH,
    API_KEY_HEADER,
    BASE_URL,
    BATCH_PATH,
    CONNECTIONS,
    MAX_RESPONSE_MB,
    MESSAGE_CHARS,
    READ_BYTES,
)

if TYPE_CHECKING:
    from types import ModuleType

    import requests

_RETRIED: Final = frozenset({ErrorKind.CONNECTION, ErrorKind.RATE_LIMITED, ErrorKind.SERVER_ERROR})


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200 or 202 of the API."""

    http_status: int
    body: bytes
    fetched_at: datetime
    """When the last byte arrived, UTC."""


@dataclass(slots=True)
class Traffic:
    """What went to and fro; counted by many threads."""

    requests: int = 0
    """Every one, also those that were tried again."""
    retries: int = 0
    """Those of them that repeated another one."""
    bytes_received: int = 0
    """Of bodies, as they came: packed."""
    _lock: Lock = field(default_factory=Lock)

    def add(self, *, retries: int = 0, requests: int = 0, bytes_received: int = 0) -> None:
        """Count some more."""
        with self._lock:
            self.requests += requests
            self.retries += retries
            self.bytes_received += bytes_received


class EnrowClient:
    """Fetches batches; one instance serves many threads, with a connection for each.

    Timeout and retries are dlt's own settings, `[runtime] request_timeout`, `request_max_attempts`,
    `request_backoff_factor` and `request_max_retry_delay`:
    https://dlthub.com/docs/general-usage/http/requests

    Args:
        api_key: Sent as `x-api-key`, to `base_url` only.
        base_url: Scheme and host of the API; https, or http on a loopback address.
        connections: Threads that use the client at the same time.
        max_response_mb: The most a body may have, unpacked; 10^6 bytes each.

    Raises:
        ConfigurationError: The key or the URL cannot be used.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str = BASE_URL,
        *,
        connections: int = CONNECTIONS,
        max_response_mb: float = MAX_RESPONSE_MB,
    ) -> None:
        base = _checked_base_url(base_url)
        self._url, self._account_url = base + BATCH_PATH, base + ACCOUNT_PATH
        self._api_key = _checked_api_key(api_key)
        self._runtime = resolve_configuration(RuntimeConfiguration())
        self._max_bytes = int(max_response_mb * 1_000_000)
        self.connections = connections
        self.traffic = Traffic()
        self._threads = local()
        self._closed = Event()
        self._pause = _Pause(self._closed)

    def __repr__(self) -> str:
        """Show the URL, never the key."""
        return f"EnrowClient({self._url})"

    def __enter__(self) -> Self:
        """Use the client until the end of the block."""
        self._closed.clear()
        return self

    def __exit__(self, *_: object) -> None:
        """End the waits of all threads; a request that is under way ends by its timeout."""
        self._closed.set()

    def fetch_batch(self, batch_id: str) -> Answer:
        """Fetch one batch: `GET /phone/bulk?id=...`, again after 429, 5xx and broken connections.

        Raises:
            RequestFailedError: No usable answer for this batch.
            InvalidApiKeyError: The API refused the key.
            OutOfCreditsError: The account has no credits left.
        """
        failed = RequestFailedError("the run has ended", ErrorKind.CONNECTION)
        for attempt in self._attempts():
            with attempt:
                self._pause.wait()
                if self._closed.is_set():
                    raise failed
                self.traffic.add(retries=attempt.retry_state.attempt_number > 1)
                try:
                    return self._get(self._url, {"id": batch_id})
                except RequestFailedError as error:
                    failed = error
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def fetch_credits(self) -> float | None:
        """Fetch what the account has left: `GET /account/info`, once; None where the answer does not tell.

        Raises:
            RequestFailedError: No usable answer.
            InvalidApiKeyError: The API refused the key.
        """
        answer = self._get(self._account_url, {})
        try:
            return msgspec.json.decode(answer.body, type=_AccountBody).credits
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = "the answer of /account/info is not what the API documents"
        raise RequestFailedError(message, ErrorKind.INVALID_RESPONSE, answer.http_status)

    def _attempts(self) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, BatchError) and e.kind in _RETRIED),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self._runtime.request_max_attempts),
                tenacity.stop_when_event_set(self._closed),
            ),
            wait=self._wait_s,
            sleep=tenacity.sleep_using_event(self._closed),
            reraise=True,
        )

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        """Seconds to wait: what the API asked for, else exponential with jitter so that threads do not align."""
        error = state.outcome.exception() if state.outcome else None
        longest = float(self._runtime.request_max_retry_delay)
        wait = self._runtime.request_backoff_factor * 2.0 ** (state.attempt_number - 1)
        if isinstance(error, _RetryLaterError) and error.retry_after_s is not None:
            wait = error.retry_after_s
        wait = min(max(wait, 0.0), longest)
        if isinstance(error, BatchError) and error.kind is ErrorKind.RATE_LIMITED:
            self._pause.extend(wait)
        return min(wait * random.uniform(1.0, 1.1), longest)  # noqa: S311 - jitter, no secret

    def _get(self, url: str, params: Mapping[str, str]) -> Answer:
        try:
            response, body = self._exchange(url, params)
        except _transport().ERRORS as error:
            failed = RequestFailedError(f"no complete answer: {_innermost(error)}", ErrorKind.CONNECTION)
        else:
            if response.status_code in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
                return Answer(response.status_code, body, datetime.now(UTC))
            # An API may repeat the key in its message.
            body = body.replace(self._api_key.encode(), b"***")
            _raise_for_status(response.status_code, _message(response, body), _retry_after_s(response, body))
        # Raised out here: what requests raised would come along as its context, with the key in the frames' locals.
        raise failed

    def _exchange(self, url: str, params: Mapping[str, str]) -> tuple[requests.Response, bytes]:
        self.traffic.add(requests=1)
        response = self._session().get(
            url,
            params=params,
            headers={API_KEY_HEADER: self._api_key},
            allow_redirects=False,  # requests would send the key along, to any host
            timeout=self._runtime.request_timeout,
            stream=True,
        )
        with response:
            try:
                return response, self._read(response)
            finally:
                self.traffic.add(bytes_received=response.raw.tell())

    def _read(self, response: requests.Response) -> bytes:
        """Read the body, but not without end."""
        parts: list[bytes] = []
        size = 0
        # Unpacked here: urllib3 would not return to look at the size before it has unpacked all it was asked for.
        response.raw.decode_content = False
        is_packed = response.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
        unpacker = _transport().Unpacker(self._max_bytes + 1) if is_packed else None
        while packed := response.raw.read1(READ_BYTES):
            part = unpacker.unpack(packed) if unpacker else packed
            parts.append(part)
            size += len(part)
            if size > self._max_bytes:
                message = f"the body is larger than max_response_mb, {self._max_bytes / 1_000_000:g}"
                raise RequestFailedError(message, ErrorKind.TOO_LARGE, response.status_code)
        if unpacker and unpacker.is_inside:
            raise ConnectionError("the packed body breaks off")
        return b"".join(parts)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = _transport().open_session(self._url)
        return session


def _transport() -> ModuleType:
    """Import requests with the first request: a run with nothing new sends none."""
    from . import transport  # noqa: PLC0415

    return transport


class _RetryLaterError(RequestFailedError):
    """429 or 5xx; `retry_after_s` is what the API asked for, None where it did not."""

    def __init__(self, message: str, kind: ErrorKind, http_status: int, retry_after_s: float | None) -> None:
        super().__init__(message, kind, http_status)
        self.retry_after_s = retry_after_s


class _Pause:
    """Holds all threads back while the API asks for a pause, so that the run slows down and not one thread."""

    def __init__(self, closed: Event) -> None:
        self._closed = closed
        self._lock = Lock()
        self._until = 0.0

    def extend(self, wait_s: float) -> None:
        with self._lock:
            self._until = max(self._until, time.monotonic() + wait_s)

    def wait(self) -> None:
        while (left := self._until - time.monotonic()) > 0 and not self._closed.is_set():
            self._closed.wait(left)


def _innermost(error: BaseException) -> str:
    """Tell the cause: what requests wraps around it repeats the URL."""
    kind = type(error).__name__
    while error.__context__ is not None:
        error = error.__context__
    return f"{kind}: {error}"


def _raise_for_status(status: int, message: str, retry_after_s: float | None) -> NoReturn:
    if status == HTTPStatus.UNAUTHORIZED:
        raise InvalidApiKeyError(
            f"the API refused the key ({message}): check enrow_api_key under [sources.enrow] in"
            " .dlt/secrets.toml, or ENROW_API_KEY in the environment"
        )
    if status == HTTPStatus.PAYMENT_REQUIRED:
        raise OutOfCreditsError(f"the Enrow account is out of credits ({message})")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise _RetryLaterError(message, ErrorKind.RATE_LIMITED, status, retry_after_s)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _RetryLaterError(message, ErrorKind.SERVER_ERROR, status, retry_after_s)
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        raise RequestFailedError(message, ErrorKind.NOT_READABLE, status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise RequestFailedError("the API answered with a redirect; not followed", ErrorKind.REDIRECT, status)
    raise RequestFailedError(message, ErrorKind.UNEXPECTED_STATUS, status)


class _AccountBody(msgspec.Struct):
    credits: float | None = None


class _ErrorBody(msgspec.Struct):
    message: str | None = None
    retry_after: float | None = None


def _error_body(body: bytes) -> _ErrorBody:
    try:
        return msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _ErrorBody()


def _message(response: requests.Response, body: bytes) -> str:
    message = _error_body(body).message or response.reason or f"HTTP {response.status_code}"
    return message[:MESSAGE_CHARS].replace("\0", "\ufffd")  # Postgres refuses NUL


def _retry_after_s(response: requests.Response, body: bytes) -> float | None:
    """Seconds that the API asks to wait: header Retry-After (seconds or a date), or `retry_after` in the body."""
    header = response.headers.get("Retry-After", "").strip()
    if header.isdecimal():
        return float(header)
    try:
        return (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return _error_body(body).retry_after


def _checked_base_url(base_url: str) -> str:
    fix = "set enrow_base_url to scheme and host alone, such as https://api.enrow.io"
    shown = base_url.rsplit("@", 1)[-1]  # what stands before may be a password
    try:
        parts = urlsplit(base_url.strip())
        has_host = (
            bool(parts.hostname) and parts.port != 0 and base_url.strip().isprintable() and " " not in parts.netloc
        )
    except ValueError:
        has_host = False
    if not has_host or parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"enrow_base_url {shown!r} is no http(s) URL: {fix}")
    if "@" in base_url:
        raise ConfigurationError(f"enrow_base_url for {shown!r} holds a user or a password: {fix}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigurationError(f"enrow_base_url {shown!r} holds a path or a query: {fix}")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ConfigurationError(f"enrow_base_url {shown!r} would send the API key unencrypted: use https")
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked_api_key(api_key: str) -> str:
    api_key = api_key.strip()
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ConfigurationError(
            "the Enrow API key is empty or holds characters that no key has: set enrow_api_key under"
            " [sources.enrow] in .dlt/secrets.toml, or ENROW_API_KEY in the environment"
        )
    return api_key
