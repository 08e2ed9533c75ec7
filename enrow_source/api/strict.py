"""The documented shape of a response, with documented params alone or with any keys in params."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final

import msgspec
from msgspec import Raw

from ..settings import RESULTS_LIMIT, UNDECLARED_COLUMNS
from .models import Batch, Results, Stats, Text
from .values import NULL, TextColumns, check_id, exact_credits, json_text, json_texts

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Params(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    linkedin_url: Text = None
    firstname: Text = None
    lastname: Text = None
    company_domain: Text = None
    company_name: Text = None


class _AnyResult(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: _Int64 | None = None
    qualification: Text = None
    number: Text = None
    country: Text = None
    custom: Raw = NULL


class _Result(_AnyResult):
    params: _Params | None = None


class _CustomParamsResult(_AnyResult):
    """A result whose search has keys of the submitter's own; all of them are text."""

    params: dict[str, Text] | None = None


class _General(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    status: str
    id: Text = None
    custom: Raw = NULL


class _Stats(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    requested: _Int64 | None = None
    finished: _Int64 | None = None
    found: _Int64 | None = None
    credits_cost: Decimal | None = None
    credits_to_refund: Decimal | None = None


class _AnyBody(msgspec.Struct, forbid_unknown_fields=True):
    general: _General
    stats: _Stats | None = None


class _Body(_AnyBody):
    results: Annotated[list[_Result], msgspec.Meta(max_length=RESULTS_LIMIT)] | None = None

    def params(self) -> TextColumns:
        params = [result.params or _NO_PARAMS for result in self.results or ()]
        columns = TextColumns(0, ())
        columns.columns = {
            "linkedin_url": [search.linkedin_url for search in params],
            "firstname": [search.firstname for search in params],
            "lastname": [search.lastname for search in params],
            "company_domain": [search.company_domain for search in params],
            "company_name": [search.company_name for search in params],
        }
        return columns


class _CustomParamsBody(_AnyBody):
    results: Annotated[list[_CustomParamsResult], msgspec.Meta(max_length=RESULTS_LIMIT)] | None = None

    def params(self) -> TextColumns:
        params: list[dict[str, Text]] = [result.params or {} for result in self.results or ()]
        columns = TextColumns(len(params), PARAMS)
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


STRICT: Final = msgspec.json.Decoder(_Body)

CUSTOM_PARAMS: Final = msgspec.json.Decoder(_CustomParamsBody)

RESULT_FIELDS: Final = ("qualification", "number", "country", "custom")

PARAMS: Final = _Params.__struct_fields__

_NO_STATS: Final = _Stats()

_NO_PARAMS: Final = _Params()


def batch_of(batch_id: str, body: _Body | _CustomParamsBody) -> Batch:
    """Make a batch of a body in the documented shape."""
    general, stats, results = body.general, body.stats or _NO_STATS, body.results or []
    check_id(batch_id, general.id)
    params = body.params()
    qualification = [result.qualification for result in results]
    return Batch(
        batch_id=batch_id,
        status=general.status,
        custom=json_text(general.custom),
        stats=Stats(
            requested=stats.requested,
            finished=stats.finished,
            found=stats.found,
            credits_cost=exact_credits(stats.credits_cost, "stats.credits_cost"),
            credits_to_refund=exact_credits(stats.credits_to_refund, "stats.credits_to_refund"),
        ),
        results=Results(
            count=len(results),
            found=qualification.count("found"),
            index=[result.index for result in results],
            fields={
                "qualification": qualification,
                "number": [result.number for result in results],
                "country": [result.country for result in results],
                "custom": json_texts([result.custom for result in results]),
            },
            params=params.columns,
            overflow_params=params.more,
        ),
    )
