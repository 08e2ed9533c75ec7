"""JSON values decoded one at a time; an error names the field and the type that came, never the value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Raw

from ..errors import InvalidResponseError
from ..settings import CREDITS_PRECISION, CREDITS_SCALE, RESULTS_LIMIT, UNDECLARED_COLUMNS
from .models import Text

T = TypeVar("T")

NULL: Final = Raw(b"null")


class TextColumns:
    """Text by the name of its field, a column for each name; past so many names that nobody has documented, by row."""

    def __init__(self, count: int, documented: Iterable[str]) -> None:
        self.columns: dict[str, list[Text]] = {name: [None] * count for name in documented}
        self.more: dict[int, dict[str, str]] = {}
        self._count = count
        self._room = UNDECLARED_COLUMNS

    def put(self, row: int, name: str, value: Text) -> None:
        """Set one value; None leaves the row as it is."""
        if value is None:
            return
        if name in self.columns:
            self.columns[name][row] = value
        elif self._room:
            self._room -= 1
            self.columns[name] = [None] * self._count
            self.columns[name][row] = value
        else:
            self.more.setdefault(row, {})[name] = value


_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])

ARRAY: Final = msgspec.json.Decoder(Annotated[list[Raw], msgspec.Meta(max_length=RESULTS_LIMIT)])

_STRING: Final = msgspec.json.Decoder(str)

_DECIMAL: Final = msgspec.json.Decoder(Decimal)


def check_id(asked: str, answered: Text) -> None:
    """Check that the response is about the batch that was asked for."""
    if answered is not None and answered != asked:
        raise InvalidResponseError("general.id is not the id that was asked for")


def decode(decoder: msgspec.json.Decoder[T], raw: Raw, where: str, expected: str) -> T | None:
    """Decode `raw`; None for null. The error names the type that came, never the value: it may be personal data."""
    if raw == NULL:
        return None
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        was = _json_type(raw)
        message = f"is {was}, expected {expected}" if was not in expected else f"is out of range, expected {expected}"
        raise InvalidResponseError(f"{where} {message}") from error
    except msgspec.DecodeError as error:
        raise InvalidResponseError(f"{where} is not JSON: {error}") from error
    except RecursionError as error:
        raise InvalidResponseError(f"{where} is nested too deeply") from error


def decode_object(raw: Raw, where: str, *, nullable: bool = True) -> dict[str, Raw]:
    """Decode an object; an empty one for null, where null is allowed."""
    fields = decode(_OBJECT, raw, where, "an object")
    if fields is None and not nullable:
        raise InvalidResponseError(f"{where} is null, expected an object")
    return fields or {}


def decode_string(raw: Raw, where: str) -> Text:
    """Decode a string or null."""
    return decode(_STRING, raw, where, "a string or null")


def decode_integer(raw: Raw, where: str) -> int | None:
    """Decode a whole number of 64 bits; also one in a string, or with decimals that are zero."""
    number = _number(raw, where, "a whole number")
    if number is None:
        return None
    if number.is_finite() and -(2**63) <= number < 2**63 and number == int(number):
        return int(number)
    raise InvalidResponseError(f"{where} is no whole number of 64 bits")


def decode_decimal(raw: Raw, where: str) -> Decimal | None:
    """Decode an amount of credits; also one in a string."""
    return exact_credits(_number(raw, where, "a number"), where)


def _number(raw: Raw, where: str, expected: str) -> Decimal | None:
    """Decode a number, or a string that holds one: the pages of the vendor have both."""
    return decode(_DECIMAL, raw, where, expected)


_EXACTLY: Final = Context(prec=CREDITS_PRECISION, traps=[Inexact, InvalidOperation])

_SMALLEST: Final = Decimal(1).scaleb(-CREDITS_SCALE)


def exact_credits(amount: Decimal | None, where: str) -> Decimal | None:
    """Return an amount with the digits that the column holds; raises InvalidResponseError where it has more."""
    if amount is None:
        return None
    try:
        exact = amount.quantize(_SMALLEST, context=_EXACTLY)
    except DecimalException:
        exact = Decimal("NaN")
    if exact.is_nan():
        size = f"{CREDITS_PRECISION} digits, {CREDITS_SCALE} of them decimals"
        raise InvalidResponseError(f"{where} is no number of at most {size}")
    return exact


def json_text(raw: Raw) -> Text:
    """Keep a value of any type as the JSON text that came; None for null."""
    return None if raw == NULL else bytes(raw).decode()


def json_texts(values: Sequence[Raw]) -> list[Text]:
    """Keep the values of a column as `json_text` does; decoded together, which takes a fifth of the time."""
    texts = b"\0".join(values).decode().split("\0")
    if len(texts) != len(values):  # none at all, or one with a character that no JSON has
        return [json_text(raw) for raw in values]
    return [None if text == "null" else text for text in texts]


def text_of(raw: Raw) -> Text:
    """Keep a string as it is and anything else as its JSON text; None for null."""
    return _STRING.decode(raw) if bytes(raw)[:1] == b'"' else json_text(raw)


def texts_of(fields: dict[str, Raw]) -> dict[str, Text]:
    """Return each field as text."""
    return {key: text_of(value) for key, value in fields.items()}


def _json_type(raw: Raw) -> str:
    names = {b"{": "an object", b"[": "an array", b'"': "a string", b"t": "true", b"f": "false", b"n": "null"}
    return names.get(bytes(raw).lstrip()[:1], "a number")
