"""HTTP: one POST for one batch, and what its answer proves.

API: `POST https://api.enrow.io/phone/bulk`, https://enrow.readme.io. It has no idempotency key: only what proves that
nothing was accepted may be sent again.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec

from ..errors import BatchError
from ..settings import API_KEY_HEADER
from .client import EnrowClient
from .error_responses import error_message, no_answer_message, retry_after_s


@dataclass(frozen=True, slots=True)
class Accepted:
    """201: the API has the batch, and holds credits for it."""

    http_status: int
    batch_id: str
    credits_held: float | None
    """`credits_used`; None where the API does not say."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The API proved that it took nothing, and will not take the same thing later: 400, 401, 402, 422."""

    http_status: int
    message: str
    """The API's words: `message` or `reason`."""


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """Nothing was accepted, and the same may be sent again: no connection, or 429."""

    http_status: int | None
    """None where nothing was sent."""
    message: str
    retry_after_s: float | None = None
    """What the API asked to wait; None where it did not."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nobody can tell whether the batch was accepted: a time-out, a reset, 5xx, an unreadable 201, anything else."""

    http_status: int | None
    message: str


PostResult = Accepted | Refused | NotAccepted | Unclear

_REFUSALS: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PAYMENT_REQUIRED,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)


class SubmissionClient(EnrowClient):
    """Posts batches; each on a connection of its own, since a kept one may break without a trace of what it sent."""

    def post_batch(self, body: bytes) -> PostResult:
        """Post one batch, once; whatever goes wrong on the way is a result, not an error."""
        from . import http_session  # noqa: PLC0415 - it imports requests, which only who sends something needs

        session = http_session.open_session(self._url)
        self.request_stats.add(requests=1)
        status: int | None = None
        try:
            response = session.post(
                self._url,
                data=body,
                headers={API_KEY_HEADER: self._api_key, "Content-Type": "application/json"},
                allow_redirects=False,  # requests would send key and people along, to any host
                timeout=self._runtime.request_timeout,
                stream=True,
            )
            with response:
                status = response.status_code
                answer = self._read(response).replace(self._api_key.encode(), b"***")
        except BatchError as error:
            return Unclear(status, error.message)
        except http_session.ERRORS as error:
            message = no_answer_message(error, self._url)
            return NotAccepted(None, message) if status is None and _was_not_sent(error) else Unclear(status, message)
        finally:
            session.close()
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return NotAccepted(status, error_message(response, answer), retry_after_s(response, answer))
        if status in _REFUSALS:
            return Refused(status, error_message(response, answer))
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return _accepted(status, answer)
        return Unclear(status, error_message(response, answer))


class _AcceptedBody(msgspec.Struct):
    id: str
    # Anything: what is wrong with the credits does not cost the id.
    credits_used: object = None


def _accepted(status: int, answer: bytes) -> Accepted | Unclear:
    """Read the id of the batch: a 2xx without one is no proof of anything."""
    try:
        body = msgspec.json.decode(answer, type=_AcceptedBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = _AcceptedBody("")
    batch_id, held = body.id.strip(), body.credits_used
    if not batch_id or not batch_id.isprintable():
        return Unclear(status, "the answer is not what the API documents: it has no id of a batch")
    if isinstance(held, bool) or not isinstance(held, int | float) or held < 0:
        held = None
    return Accepted(status, batch_id, held)


def _was_not_sent(error: BaseException) -> bool:
    """Return whether the request cannot have left: there was no connection, or TLS refused the host's certificate."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError  # noqa: PLC0415 - with the first request

    proofs = (NewConnectionError, ConnectTimeoutError, ssl.SSLCertVerificationError)
    return any(isinstance(one, proofs) for one in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk what requests and urllib3 wrapped: they keep causes in `args` and `reason`, too."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        more = [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
        waiting += [cause for cause in more if isinstance(cause, BaseException)]
