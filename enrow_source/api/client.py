"""HTTP: one GET for one batch, with the key, the retries and the meaning of each status code."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from threading import Event, Lock, local
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlencode

import msgspec
import tenacity
from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.specs import RuntimeConfiguration

from ..errors import BatchError, ErrorKind, RequestFailedError
from ..settings import ACCOUNT_PATH, API_KEY_HEADER, BASE_URL, BATCH_PATH, CONNECTIONS, MAX_RESPONSE_MB, READ_BYTES
from .access import checked_api_key, checked_base_url
from .error_responses import RetryLaterError, no_answer_message, raise_for_status

if TYPE_CHECKING:
    from types import ModuleType

    import requests

_RETRIED: Final = frozenset({ErrorKind.CONNECTION, ErrorKind.RATE_LIMITED, ErrorKind.SERVER_ERROR})


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A 200 or 202 of the API."""

    http_status: int
    body: bytes
    fetched_at: datetime
    """When the last byte arrived, UTC."""


@dataclass(slots=True)
class RequestStats:
    """Requests and responses of a run; counted by many threads."""

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
        base = checked_base_url(base_url)
        self._url, self._account_url = base + BATCH_PATH, base + ACCOUNT_PATH
        self._api_key = checked_api_key(api_key)
        self._runtime = resolve_configuration(RuntimeConfiguration())
        self._max_bytes = int(max_response_mb * 1_000_000)
        self.connections = connections
        self.request_stats = RequestStats()
        self._threads = local()
        self._closed = Event()
        self._pause = _Pause(self._closed)

    def __repr__(self) -> str:
        return f"EnrowClient({self._url})"

    def __enter__(self) -> Self:
        self._closed.clear()
        return self

    def __exit__(self, *_: object) -> None:
        """End the waits of all threads; a request that is under way ends by its timeout."""
        self._closed.set()

    def prepare(self) -> None:
        """Import what a request takes, in the caller's thread: threads that import may wait for each other forever."""
        _http()

    def fetch_batch(self, batch_id: str) -> RawResponse:
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
                self.request_stats.add(retries=attempt.retry_state.attempt_number > 1)
                try:
                    return self._get(f"{self._url}?{urlencode({'id': batch_id})}")
                except RequestFailedError as error:
                    failed = error
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def fetch_credits(self) -> float | None:
        """Fetch what the account has left: `GET /account/info`, once, or None; raises as `fetch_batch` does."""
        answer = self._get(self._account_url)
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
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s if isinstance(error, RetryLaterError) else None
        if isinstance(error, BatchError) and error.kind is ErrorKind.RATE_LIMITED:
            self._pause.extend(self._bounded_s(state.attempt_number, asked))
        return self.wait_s(state.attempt_number, asked)

    def wait_s(self, attempt: int, retry_after_s: float | None) -> float:
        """Return the seconds to wait before the next try: what the API asked for, else longer each time; bounded."""
        jittered = self._bounded_s(attempt, retry_after_s) * random.uniform(1.0, 1.1)  # noqa: S311 - no secret
        return min(jittered, float(self._runtime.request_max_retry_delay))

    def _bounded_s(self, attempt: int, retry_after_s: float | None) -> float:
        wait = self._runtime.request_backoff_factor * 2.0 ** (attempt - 1) if retry_after_s is None else retry_after_s
        return min(max(wait, 0.0), float(self._runtime.request_max_retry_delay))

    def _get(self, url: str) -> RawResponse:
        try:
            response, body = self._exchange(url)
        except _http().ERRORS as error:
            failed = RequestFailedError(no_answer_message(error, url), ErrorKind.CONNECTION)
        else:
            if response.status_code in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
                return RawResponse(response.status_code, body, datetime.now(UTC))
            # An API may repeat the key in its message, and the frames of an error are shown with their locals.
            body = body.replace(self._api_key.encode(), b"***")
            raise_for_status(response, body)
        # Raised out here: what requests raised would come along as its context, with the key in the frames' locals.
        raise failed

    def _exchange(self, url: str) -> tuple[requests.Response, bytes]:
        self.request_stats.add(requests=1)
        session, request = self._prepared()
        request.url = url
        response = session.send(
            request,
            allow_redirects=False,  # requests would send the key along, to any host
            timeout=self._runtime.request_timeout,
            stream=True,
        )
        with response:
            try:
                return response, self._read(response)
            finally:
                self.request_stats.add(bytes_received=response.raw.tell())

    def _read(self, response: requests.Response) -> bytes:
        """Read the body, but not without end."""
        parts: list[bytes] = []
        size = 0
        # Unpacked here: urllib3 would not return to check the size before it has unpacked all it was asked for.
        response.raw.decode_content = False
        is_packed = response.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
        unpacker = _http().Unpacker(self._max_bytes + 1) if is_packed else None
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

    def _prepared(self) -> tuple[requests.Session, requests.PreparedRequest]:
        """Return the session and the request of this thread: preparing a request takes longer than sending it."""
        prepared: tuple[requests.Session, requests.PreparedRequest] | None = getattr(self._threads, "prepared", None)
        if prepared is None:
            prepared = self._threads.prepared = _http().prepare_get(self._url, {API_KEY_HEADER: self._api_key})
        return prepared


class _AccountBody(msgspec.Struct):
    credits: float | None = None


@cache
def _http() -> ModuleType:
    """Import requests with the first request: a run with nothing new sends none."""
    from . import http_session  # noqa: PLC0415

    return http_session


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
