"""The response of `GET /phone/bulk` as types, and the parser that makes them from its bytes.

https://enrow.readme.io

A body is decoded strictly, into the documented shape, which is fast; where it is of another shape, with any keys in
the submitted searches; and where it holds anything else, field by field, which keeps what nobody has documented and
names what cannot be. All three give equal batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from enum import StrEnum
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Raw

from .errors import InvalidResponseError
from .settings import CREDITS_PRECISION, CREDITS_SCALE, RESULTS_LIMIT, UNDECLARED_COLUMNS

Text = str | None
T = TypeVar("T")


class BatchStatus(StrEnum):
    """State of a batch; the values are the API's words."""

    ONGOING = "ongoing"
    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """A word that the documentation does not have: looked at again, never taken for done."""

    @classmethod
    def of(cls, word: str) -> BatchStatus:
        """Return the status for the API's `word`; UNKNOWN for one it does not document."""
        return cls(word) if word in _STATUS_WORDS else cls.UNKNOWN

    @property
    def is_terminal(self) -> bool:
        """Whether the batch will not change any more."""
        return self in (BatchStatus.COMPLETED, BatchStatus.FAILED)


_STATUS_WORDS: Final = {status.value for status in BatchStatus} - {"unknown"}


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts and credits of a batch as the API claims them; None where it says nothing."""

    requested: int | None = None
    finished: int | None = None
    found: int | None = None
    credits_cost: Decimal | None = None
    credits_to_refund: Decimal | None = None
    unknown: dict[str, Text] = field(default_factory=dict)
    """Undocumented fields of `stats`, as text."""


@dataclass(frozen=True, slots=True)
class Results:
    """The searches of a batch, as columns of equal length: one value for each search, None where it has none."""

    count: int = 0
    found: int = 0
    """Results that are qualified `found`."""
    index: list[int | None] = field(default_factory=list)
    """Position in the submitted array, from 0."""
    fields: dict[str, list[Text]] = field(default_factory=dict)
    """`qualification`, `number`, `country`, `custom` (JSON text) and every undocumented field, as text."""
    params: dict[str, list[Text]] = field(default_factory=dict)
    """The submitted search, a column for each key, as text."""
    more_fields: dict[int, dict[str, str]] = field(default_factory=dict)
    """Undocumented fields by row and key, past as many as a table may have columns for."""
    more_params: dict[int, dict[str, str]] = field(default_factory=dict)
    """As `more_fields`, of the submitted search."""

    def without_rows(self) -> Results:
        """Keep the counts alone."""
        return Results(self.count, self.found)


@dataclass(frozen=True, slots=True)
class Batch:
    """One answer of `GET /phone/bulk`."""

    batch_id: str
    status: str
    """The API's word."""
    custom: Text
    """What was sent with the batch, as JSON text."""
    stats: Stats
    results: Results
    unknown: dict[str, Text] = field(default_factory=dict)
    """Undocumented fields of `general`, as text."""
    unknown_top: dict[str, Text] = field(default_factory=dict)
    """Undocumented fields beside `general`, as text."""

    @property
    def is_completed(self) -> bool:
        """Whether its results are final."""
        return BatchStatus.of(self.status) is BatchStatus.COMPLETED


def parse_batch(batch_id: str, body: bytes) -> Batch:
    """Parse the `body` of a 200 or 202 answer for `batch_id`.

    Raises:
        InvalidResponseError: The body is not JSON, is about another batch, or a field cannot be what it should be.
    """
    body = _storable(body)
    for decoder in (_DOCUMENTED, _OPEN):
        try:
            return _from_documented(batch_id, decoder.decode(body))
        except (msgspec.ValidationError, RecursionError):
            continue
        except msgspec.DecodeError as error:
            raise InvalidResponseError(f"the body is not JSON: {error}") from error
    return _from_anything(batch_id, body)


# Escapes of NUL, which some destinations refuse, and of half a surrogate pair, which is no character.
# The alternatives before them consume what must stay: an escaped backslash, a whole pair.
_UNSTORABLE: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u0000|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def _storable(body: bytes) -> bytes:
    """Check that `body` is UTF-8, and put U+FFFD where it escapes a character that cannot be stored."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8: {error.reason} at byte {error.start}"
        raise InvalidResponseError(message) from error
    if b"\\" in body and (b"\\u0000" in body or b"\\ud" in body or b"\\uD" in body):
        return _UNSTORABLE.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)
    return body


# The documented shape -------------------------------------------------------------------------------------------

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_NULL: Final = Raw(b"null")


class _Params(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    linkedin_url: Text = None
    firstname: Text = None
    lastname: Text = None
    company_domain: Text = None
    company_name: Text = None


class _Result(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: _Int64 | None = None
    qualification: Text = None
    number: Text = None
    country: Text = None
    params: _Params | None = None
    custom: Raw = _NULL


class _OpenResult(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A result whose search has keys of the submitter's own; all of them are text."""

    index: _Int64 | None = None
    qualification: Text = None
    number: Text = None
    country: Text = None
    params: dict[str, Text] | None = None
    custom: Raw = _NULL


class _General(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    status: str
    id: Text = None
    custom: Raw = _NULL


class _Stats(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    requested: _Int64 | None = None
    finished: _Int64 | None = None
    found: _Int64 | None = None
    credits_cost: Decimal | None = None
    credits_to_refund: Decimal | None = None


class _Columns:
    """Text by the name of its field, a column for each name; past so many names that nobody has documented, by row."""

    def __init__(self, count: int, documented: Iterable[str]) -> None:
        self.columns: dict[str, list[Text]] = {name: [None] * count for name in documented}
        self.more: dict[int, dict[str, str]] = {}
        self._count = count
        self._room = UNDECLARED_COLUMNS

    def put(self, row: int, name: str, value: Text) -> None:
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


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    general: _General
    stats: _Stats | None = None
    results: Annotated[list[_Result], msgspec.Meta(max_length=RESULTS_LIMIT)] | None = None

    def params(self) -> _Columns:
        params = [result.params or _NO_PARAMS for result in self.results or ()]
        columns = _Columns(0, ())
        columns.columns = {
            "linkedin_url": [search.linkedin_url for search in params],
            "firstname": [search.firstname for search in params],
            "lastname": [search.lastname for search in params],
            "company_domain": [search.company_domain for search in params],
            "company_name": [search.company_name for search in params],
        }
        return columns


class _OpenBody(msgspec.Struct, forbid_unknown_fields=True):
    general: _General
    stats: _Stats | None = None
    results: Annotated[list[_OpenResult], msgspec.Meta(max_length=RESULTS_LIMIT)] | None = None

    def params(self) -> _Columns:
        params: list[dict[str, Text]] = [result.params or {} for result in self.results or ()]
        columns = _Columns(len(params), PARAMS)
        names = {name for search in params for name in search}
        if len(names) > UNDECLARED_COLUMNS:
            for row, search in enumerate(params):
                for name, value in search.items():
                    columns.put(row, name, value)
            return columns
        for name in names:
            column = [search.get(name) for search in params]
            if name in PARAMS or any(value is not None for value in column):
                columns.columns[name] = column
        return columns


_DOCUMENTED: Final = msgspec.json.Decoder(_Body)
_OPEN: Final = msgspec.json.Decoder(_OpenBody)

RESULT_FIELDS: Final = ("qualification", "number", "country", "custom")
PARAMS: Final = _Params.__struct_fields__
_NO_STATS: Final = _Stats()
_NO_PARAMS: Final = _Params()


def _from_documented(batch_id: str, body: _Body | _OpenBody) -> Batch:
    general, stats, results = body.general, body.stats or _NO_STATS, body.results or []
    _check_id(batch_id, general.id)
    params = body.params()
    qualification = [result.qualification for result in results]
    return Batch(
        batch_id=batch_id,
        status=general.status,
        custom=_json_text(general.custom),
        stats=Stats(
            requested=stats.requested,
            finished=stats.finished,
            found=stats.found,
            credits_cost=_credits(stats.credits_cost, "stats.credits_cost"),
            credits_to_refund=_credits(stats.credits_to_refund, "stats.credits_to_refund"),
        ),
        results=Results(
            count=len(results),
            found=qualification.count("found"),
            index=[result.index for result in results],
            fields={
                "qualification": qualification,
                "number": [result.number for result in results],
                "country": [result.country for result in results],
                "custom": [None if r.custom is _NULL else _json_text(r.custom) for r in results],
            },
            params=params.columns,
            more_params=params.more,
        ),
    )


# Anything else --------------------------------------------------------------------------------------------------

_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_ARRAY: Final = msgspec.json.Decoder(Annotated[list[Raw], msgspec.Meta(max_length=RESULTS_LIMIT)])
_STRING: Final = msgspec.json.Decoder(str)
_DECIMAL: Final = msgspec.json.Decoder(Decimal)


def _from_anything(batch_id: str, body: bytes) -> Batch:
    top = _object(Raw(body), "the body")
    if "general" not in top:
        raise InvalidResponseError("general is missing")
    general = _object(top.pop("general"), "general")
    _check_id(batch_id, _string(general.pop("id", _NULL), "general.id"))
    status = _string(general.pop("status", _NULL), "general.status")
    if status is None:
        raise InvalidResponseError("general.status is missing")
    return Batch(
        batch_id=batch_id,
        status=status,
        custom=_json_text(general.pop("custom", _NULL)),
        stats=_stats(_object(top.pop("stats", _NULL), "stats")),
        results=_results(top.pop("results", _NULL)),
        unknown=_texts(general),
        unknown_top=_texts(top),
    )


def _stats(stats: dict[str, Raw]) -> Stats:
    cost = stats.get("credits_cost", _NULL)
    if bytes(cost)[:1] == b"{":
        # The shape of the email endpoint, {initial, refunded, final}: final is what the batch consumed.
        parts = _object(cost, "stats.credits_cost")
        stats["credits_cost"] = parts.pop("final", _NULL)
        if "credits_to_refund" not in stats:
            stats["credits_to_refund"] = parts.pop("refunded", _NULL)
        stats = {f"credits_cost__{key}": value for key, value in parts.items()} | stats
    if "found" not in stats and "valid" in stats:
        stats["found"] = stats.pop("valid")  # older pages
    return Stats(
        requested=_integer(stats.pop("requested", _NULL), "stats.requested"),
        finished=_integer(stats.pop("finished", _NULL), "stats.finished"),
        found=_integer(stats.pop("found", _NULL), "stats.found"),
        credits_cost=_decimal(stats.pop("credits_cost", _NULL), "stats.credits_cost"),
        credits_to_refund=_decimal(stats.pop("credits_to_refund", _NULL), "stats.credits_to_refund"),
        unknown=_texts(stats),
    )


def _results(raw: Raw) -> Results:
    rows = _decode(_ARRAY, raw, "results", f"an array of at most {RESULTS_LIMIT:,} results") or []
    index: list[int | None] = [None] * len(rows)
    fields, params = _Columns(len(rows), RESULT_FIELDS), _Columns(len(rows), PARAMS)
    for row, body in enumerate(rows):
        where = f"results[{row}]"
        result = _object(body, where, nullable=False)
        index[row] = _integer(result.pop("index", _NULL), f"{where}.index")
        for key, value in _object(result.pop("params", _NULL), f"{where}.params").items():
            params.put(row, key, _text(value))
        for key, value in result.items():
            if key == "custom":
                fields.put(row, key, _json_text(value))
            elif key in RESULT_FIELDS:
                fields.put(row, key, _string(value, f"{where}.{key}"))
            else:
                fields.put(row, key, _text(value))
    found = fields.columns["qualification"].count("found")
    return Results(len(rows), found, index, fields.columns, params.columns, fields.more, params.more)


def _check_id(asked: str, answered: Text) -> None:
    if answered is not None and answered != asked:
        raise InvalidResponseError("general.id is not the id that was asked for")


def _decode(decoder: msgspec.json.Decoder[T], raw: Raw, where: str, expected: str) -> T | None:
    """Decode `raw`; None for null. The error tells the type that came, never the value: it may be personal data."""
    if raw == _NULL:
        return None
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        was = _json_type(raw)
        told = f"is {was}, expected {expected}" if was not in expected else f"is out of range, expected {expected}"
        raise InvalidResponseError(f"{where} {told}") from error
    except msgspec.DecodeError as error:
        raise InvalidResponseError(f"{where} is not JSON: {error}") from error
    except RecursionError as error:
        raise InvalidResponseError(f"{where} is nested too deeply") from error


def _object(raw: Raw, where: str, *, nullable: bool = True) -> dict[str, Raw]:
    fields = _decode(_OBJECT, raw, where, "an object")
    if fields is None and not nullable:
        raise InvalidResponseError(f"{where} is null, expected an object")
    return fields or {}


def _string(raw: Raw, where: str) -> Text:
    return _decode(_STRING, raw, where, "a string or null")


def _integer(raw: Raw, where: str) -> int | None:
    number = _number(raw, where, "a whole number")
    if number is None:
        return None
    if number.is_finite() and -(2**63) <= number < 2**63 and number == int(number):
        return int(number)
    raise InvalidResponseError(f"{where} is no whole number of 64 bits")


def _decimal(raw: Raw, where: str) -> Decimal | None:
    return _credits(_number(raw, where, "a number"), where)


def _number(raw: Raw, where: str, expected: str) -> Decimal | None:
    """Decode a number, or a string that holds one: the pages of the vendor have both."""
    return _decode(_DECIMAL, raw, where, expected)


_EXACTLY: Final = Context(prec=CREDITS_PRECISION, traps=[Inexact, InvalidOperation])
_SMALLEST: Final = Decimal(1).scaleb(-CREDITS_SCALE)


def _credits(amount: Decimal | None, where: str) -> Decimal | None:
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


def _json_text(raw: Raw) -> Text:
    """Keep a value of any type as the JSON text that came; None for null."""
    return None if raw == _NULL else bytes(raw).decode()


def _text(raw: Raw) -> Text:
    """Keep a string as it is and anything else as its JSON text; None for null."""
    return _STRING.decode(raw) if bytes(raw)[:1] == b'"' else _json_text(raw)


def _texts(fields: dict[str, Raw]) -> dict[str, Text]:
    return {key: _text(value) for key, value in fields.items()}


def _json_type(raw: Raw) -> str:
    names = {b"{": "an object", b"[": "an array", b'"': "a string", b"t": "true", b"f": "false", b"n": "null"}
    return names.get(bytes(raw).lstrip()[:1], "a number")
