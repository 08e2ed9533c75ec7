"""Error responses: what each status code and error body means, as an error of this package."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

import msgspec

from ..errors import ErrorKind, InvalidApiKeyError, NotAllowedError, OutOfCreditsError, RequestFailedError
from ..settings import MESSAGE_CHARS

if TYPE_CHECKING:
    import requests


class RetryLaterError(RequestFailedError):
    """429 or 5xx; `retry_after_s` is what the API asked for, None where it did not."""

    def __init__(self, message: str, kind: ErrorKind, http_status: int, retry_after_s: float | None) -> None:
        super().__init__(message, kind, http_status)
        self.retry_after_s = retry_after_s


def no_answer_message(error: BaseException, url: str) -> str:
    """Return what is said where no complete answer came: why, and of which host; the URL has the id."""
    kind = type(error).__name__
    while error.__context__ is not None:  # what requests wraps around it repeats the URL
        error = error.__context__
    return f"no complete answer: {kind}: {error} (host {urlsplit(url).netloc})"


def raise_for_status(response: requests.Response, body: bytes) -> NoReturn:
    """Raise the error that a response other than 200 and 202 means."""
    status, message = response.status_code, error_message(response, body)
    if status == HTTPStatus.UNAUTHORIZED and "not allowed" in message.lower():
        raise NotAllowedError(
            f"the key is right, and its account has no phone searches ({message}): ask Enrow for a plan that has them"
        )
    if status == HTTPStatus.UNAUTHORIZED:
        raise InvalidApiKeyError(
            f"the API refused the key ({message}): check enrow_api_key under [sources.enrow] in"
            " .dlt/secrets.toml, or ENROW_API_KEY in the environment"
        )
    # 422 is what older pages have for it; one that says something else is about its batch.
    is_unpaid = status == HTTPStatus.UNPROCESSABLE_ENTITY and re.search(r"balance|credit", message, re.IGNORECASE)
    if status == HTTPStatus.PAYMENT_REQUIRED or is_unpaid:
        raise OutOfCreditsError(f"the Enrow account is out of credits ({message}): add some, the next run goes on")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise RetryLaterError(message, ErrorKind.RATE_LIMITED, status, retry_after_s(response, body))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RetryLaterError(message, ErrorKind.SERVER_ERROR, status, retry_after_s(response, body))
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        kind = ErrorKind.EXPIRED_OR_UNKNOWN if _is_about_id(body) else ErrorKind.NOT_READABLE
        raise RequestFailedError(message, kind, status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise RequestFailedError("the API answered with a redirect; not followed", ErrorKind.REDIRECT, status)
    raise RequestFailedError(message, ErrorKind.UNEXPECTED_STATUS, status)


class _ErrorBody(msgspec.Struct):
    message: str | None = None
    reason: str | None = None
    retry_after: float | None = None


def _error_body(body: bytes) -> _ErrorBody:
    try:
        return msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _ErrorBody()


def error_message(response: requests.Response, body: bytes) -> str:
    """Return the `message` or the `reason` of an error body, else the reason phrase."""
    error = _error_body(body)
    message = error.message or error.reason or response.reason or f"HTTP {response.status_code}"
    return message[:MESSAGE_CHARS].replace("\0", "\ufffd")  # Postgres refuses NUL


def _is_about_id(body: bytes) -> bool:
    """Whether an error body has words of the API about the id; a proxy, or a server that is not the API, has none."""
    message = _error_body(body).message
    return bool(message) and not str(message).startswith("Missing id")


def retry_after_s(response: requests.Response, body: bytes) -> float | None:
    """Seconds that the API asks to wait: header Retry-After (seconds or a date), or `retry_after` in the body."""
    header = response.headers.get("Retry-After", "").strip()
    if header.isdecimal():
        return float(header)
    try:
        return (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return _error_body(body).retry_after
