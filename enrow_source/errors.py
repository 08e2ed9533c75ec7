"""The errors, and what each does to a run.

```
EnrowError
├── ConfigurationError        ends the run before the first request: something to fix in the call or the settings
│   ├── UnknownOptionError    an option that does not exist (also a TypeError)
│   └── InvalidBatchIdError   a batch id that is empty or not a string
├── RunError                  ends the run: no batch can be read
│   ├── InvalidApiKeyError    401
│   ├── NotAllowedError       401 that says so: the key is right, the plan has no phone searches
│   ├── OutOfCreditsError     402, or 422 that says so
│   ├── BusyError             another run is at work in the same working folder or dataset
│   └── LockLostError         another run may have loaded meanwhile: the batches of this load are fetched again
└── BatchError                becomes a row of `batch_errors`; the other batches load, this one is fetched again
    ├── RequestFailedError    no usable answer: refused, timed out, 4xx, 429 or 5xx after the retries, a redirect
    └── InvalidResponseError  an answer that is not what the API documents; the message names the field
```

A batch that is `ongoing`, or whose status nobody has documented, is no error: it stays pending and is fetched
again by the next run.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from enum import StrEnum


class ErrorKind(StrEnum):
    """What went wrong with one fetch of a batch; the `kind` column of `batch_errors`."""

    EXPIRED_OR_UNKNOWN = "expired_or_unknown"
    """400 or 404 in the API's words: it does not know the id, or no longer. Check where the id comes from; ask Enrow
    about a batch that earlier runs have seen. After `give_up_fetches` and `give_up_days` a run stops asking."""
    NOT_READABLE = "not_readable"
    """400 or 404 in other words: not the API, but a proxy or another server, may have answered. Check
    `enrow_base_url`; the next run tries again."""
    RATE_LIMITED = "rate_limited"
    """Still 429 after the retries. Use fewer `connections`; the next run tries again."""
    SERVER_ERROR = "server_error"
    """Still 5xx after the retries. The next run tries again."""
    CONNECTION = "connection"
    """No complete answer: refused, reset, timed out, TLS. Check the network and `request_timeout`; the next run tries
    again."""
    NOT_ANSWERED = "not_answered"
    """Still no answer at `deadline_s`, or for long when the run was stopped. Later runs fetch it after the others."""
    TOO_LARGE = "too_large"
    """A body past `max_response_mb`. Raise it, if that is what the batch has."""
    REDIRECT = "redirect"
    """3xx: not followed, since the key would go with it. Check `enrow_base_url`."""
    UNEXPECTED_STATUS = "unexpected_status"
    """Any other HTTP status. Read the message."""
    INVALID_RESPONSE = "invalid_response"
    """The body is not what the API documents. Report it with the message; the next run tries again."""
    INVALID_VALUE = "invalid_value"
    """A count or an amount of credits is not what the API documents, and null in `batch_stats`; the results are loaded.
    Report it with the message."""


def did_you_mean(name: str, known: Collection[str], *, cutoff: float = 0.6) -> str:
    """Return a question to end a message with; empty where nothing is near."""
    partly = [one for one in known if one.startswith(name) or one.endswith(f"_{name}")]
    close = partly or difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f", did you mean {close[0]}?" if close else ""


class EnrowError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(EnrowError, ValueError):
    """Something to fix in the call or in the settings; raised before the first request."""


class UnknownOptionError(ConfigurationError, TypeError):
    """An option that does not exist."""


class InvalidBatchIdError(ConfigurationError):
    """A batch id that is empty or not a string."""


class RunError(EnrowError):
    """No batch can be read; the run ends and nothing already loaded changes."""


class InvalidApiKeyError(RunError):
    """The API refused the key (401)."""


class NotAllowedError(RunError):
    """The account has no phone searches (401): the key is right."""


class OutOfCreditsError(RunError):
    """The account has no credits left (402, or 422 on older pages)."""


class BusyError(RunError):
    """Another run is at work in the same working folder or dataset."""


class LockLostError(RunError):
    """The lock on the dataset was lost during the load: its batches count as not loaded."""

    def __init__(self) -> None:
        super().__init__(
            "the lock on the dataset was lost during the load, and another run may have loaded meanwhile: run again"
            " with the same ids. The batches of this load are fetched again"
        )


class BatchError(EnrowError):
    """One fetch of one batch failed; becomes a row of `batch_errors`.

    Args:
        message: What was wrong and where; holds no value of a response, since those are personal data.
        kind: What kind of failure it was.
        http_status: Status of the answer, None where there was none.
    """

    def __init__(self, message: str, kind: ErrorKind, http_status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.http_status = http_status


class RequestFailedError(BatchError):
    """No usable answer from the API."""


class InvalidResponseError(BatchError):
    """An answer that is not what the API documents; the message names the field."""

    def __init__(self, message: str, http_status: int | None = None) -> None:
        super().__init__(message, ErrorKind.INVALID_RESPONSE, http_status)
