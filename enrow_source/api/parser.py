"""The response of `GET /phone/bulk` as types, and the parser that makes them from its bytes.

https://enrow.readme.io

A body is decoded strictly, into the documented shape, which is fast; where it is of another shape, with any keys in
the submitted searches; and where it holds anything else, field by field, which keeps what nobody has documented and
names what cannot be. All three give equal batches.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ..errors import InvalidResponseError
from .lenient import parse_leniently
from .models import Batch
from .strict import CUSTOM_PARAMS, STRICT, batch_of


def parse_batch(batch_id: str, body: bytes) -> Batch:
    """Parse the `body` of a 200 or 202 answer for `batch_id`; raises InvalidResponseError where it is none of it."""
    body = _storable(body)
    for decoder in (STRICT, CUSTOM_PARAMS):
        try:
            return batch_of(batch_id, decoder.decode(body))
        except (msgspec.ValidationError, RecursionError, InvalidResponseError):
            continue
        except UnicodeDecodeError:
            break
        except msgspec.DecodeError as error:
            _check_utf8(body)
            raise InvalidResponseError(f"the body is not JSON: {error}") from error
    _check_utf8(body)
    return parse_leniently(batch_id, body)


# Escapes of NUL, which some destinations refuse, and of half a surrogate pair, which is no character.
# The alternatives before them consume what must stay: an escaped backslash, a whole pair.
_UNSTORABLE: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u0000|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def _check_utf8(body: bytes) -> None:
    """Check a body that no strict decoder has accepted: the others were checked when they were decoded."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8: {error.reason} at byte {error.start}"
        raise InvalidResponseError(message) from error


def _storable(body: bytes) -> bytes:
    """Put U+FFFD where `body` escapes a character that cannot be stored."""
    if b"\\" in body and (b"\\u0000" in body or b"\\ud" in body or b"\\uD" in body):
        return _UNSTORABLE.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)
    return body
