"""The parser: raw JSON in, whole batches out, or an error that names the field and holds no value."""

import json
import traceback
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrow_source.api import lenient, parser, strict
from enrow_source.api.models import Batch, BatchStatus, Results, Stats
from enrow_source.api.parser import parse_batch
from enrow_source.errors import ErrorKind, InvalidResponseError
from tests.support.strategies import (
    BATCH_ID,
    Json,
    as_on_older_pages,
    bodies,
    broken_bodies,
    odd_bodies,
    payloads,
    payloads_with_own_keys,
)

PROPERTY = settings(max_examples=150, deadline=None)

Columns = dict[str, list[str | None]]


def in_general(fields: str) -> bytes:
    return f'{{"general": {{"id": "{BATCH_ID}", "status": "completed", {fields}}}}}'.encode()


def beside_general(fields: str) -> bytes:
    return f'{{"general": {{"id": "{BATCH_ID}", "status": "completed"}}, {fields}}}'.encode()


def in_stats(fields: str) -> bytes:
    return beside_general(f'"stats": {{{fields}}}')


def in_result(fields: str) -> bytes:
    return beside_general(f'"results": [{{{fields}}}]')


def results(index: Sequence[int | None] = (), fields: Columns | None = None, params: Columns | None = None) -> Results:
    """Build results of which none is `found`, with null in every documented column that is not given."""
    empty: list[str | None] = [None] * len(index)
    documented = ["qualification", "number", "country", "custom"]
    submitted = ["linkedin_url", "firstname", "lastname", "company_domain", "company_name"]
    return Results(
        count=len(index),
        index=list(index),
        fields=dict.fromkeys(documented, empty) | (fields or {}),
        params=dict.fromkeys(submitted, empty) | (params or {}),
    )


def batch(status: str = "completed", **parts: Any) -> Batch:
    nothing = {"custom": None, "stats": Stats(), "results": results()}
    return Batch(BATCH_ID, status, **{**nothing, **parts})


def parse(body: bytes) -> Batch:
    return parse_batch(BATCH_ID, body)


def error_of(body: bytes) -> InvalidResponseError:
    with pytest.raises(InvalidResponseError) as caught:
        parse(body)
    return caught.value


# The documented examples ------------------------------------------------------------------------------------------


def test_completed_as_documented() -> None:
    body = b"""{
        "general": {"id": "e3b61122-d6a6-4ea7-b331-9b734682a76a", "status": "completed"},
        "results": [
            {"country": "US", "index": 0, "number": "+15705551234",
             "params": {"linkedin_url": "https://www.linkedin.com/in/michael-scott"}, "qualification": "found"},
            {"country": "US", "index": 1, "number": "+15705555678",
             "params": {"linkedin_url": "https://www.linkedin.com/in/dwight-schrute"}, "qualification": "found"}
        ],
        "stats": {"credits_cost": 80, "credits_to_refund": 0, "found": 2, "requested": 2}
    }"""
    assert parse(body) == Batch(
        batch_id="e3b61122-d6a6-4ea7-b331-9b734682a76a",
        status="completed",
        custom=None,
        stats=Stats(requested=2, found=2, credits_cost=Decimal(80), credits_to_refund=Decimal(0)),
        results=Results(
            count=2,
            found=2,
            index=[0, 1],
            fields={
                "qualification": ["found", "found"],
                "number": ["+15705551234", "+15705555678"],
                "country": ["US", "US"],
                "custom": [None, None],
            },
            params={
                "linkedin_url": [f"https://www.linkedin.com/in/{name}" for name in ("michael-scott", "dwight-schrute")],
                "firstname": [None, None],
                "lastname": [None, None],
                "company_domain": [None, None],
                "company_name": [None, None],
            },
        ),
    )


def test_ongoing_as_documented() -> None:
    body = b"""{"general": {"id": "e3b61122-d6a6-4ea7-b331-9b734682a76a", "status": "ongoing"},
                "stats": {"finished": 0, "requested": 2}}"""
    assert parse(body) == batch("ongoing", stats=Stats(requested=2, finished=0))


@pytest.mark.parametrize(
    "beside, stats",
    [
        ("", Stats()),
        (', "stats": null, "results": null', Stats()),
        (', "stats": {}, "results": []', Stats()),
        (', "stats": {"requested": 3}', Stats(requested=3)),
        (', "stats": {"found": 0, "credits_cost": 0}, "results": []', Stats(found=0, credits_cost=Decimal(0))),
        (', "stats": {"requested": 3, "finished": 1, "credits_to_refund": 80}',
         Stats(requested=3, finished=1, credits_to_refund=Decimal(80))),
    ],
)  # fmt: skip
def test_failed_in_every_shape_to_expect(beside: str, stats: Stats) -> None:
    body = f'{{"general": {{"id": "{BATCH_ID}", "status": "failed"}}{beside}}}'.encode()
    assert parse(body) == batch("failed", stats=stats)


def test_not_found_without_a_number() -> None:
    """`not_found` with a null or absent number, by name and company."""
    body = beside_general(""""results": [
        {"index": 0, "qualification": "not_found", "number": null, "country": null, "custom": "crm-17",
         "params": {"firstname": "Ann", "lastname": "Lee", "company_domain": "acme.example"}},
        {"index": 1, "qualification": "not_found",
         "params": {"firstname": "Bo", "lastname": "Diaz", "company_name": "Acme"}}]""")
    assert parse(body) == batch(
        results=results(
            [0, 1],
            fields={"qualification": ["not_found", "not_found"], "custom": ['"crm-17"', None]},
            params={
                "firstname": ["Ann", "Bo"],
                "lastname": ["Lee", "Diaz"],
                "company_domain": ["acme.example", None],
                "company_name": [None, "Acme"],
            },
        )
    )


@pytest.mark.parametrize(
    "word, status, terminal",
    [
        ("ongoing", BatchStatus.ONGOING, False),
        ("completed", BatchStatus.COMPLETED, True),
        ("failed", BatchStatus.FAILED, True),
        ("unknown", BatchStatus.UNKNOWN, False),
        ("archived", BatchStatus.UNKNOWN, False),
        ("Completed", BatchStatus.UNKNOWN, False),
        ("", BatchStatus.UNKNOWN, False),
    ],
)
def test_only_completed_and_failed_are_terminal(word: str, status: BatchStatus, terminal: bool) -> None:
    parsed = parse(json.dumps({"general": {"id": BATCH_ID, "status": word}}).encode())
    assert (parsed, BatchStatus.of(word), status.is_terminal) == (batch(word), status, terminal)


# What the documentation contradicts itself about --------------------------------------------------------------------


@pytest.mark.parametrize(
    "custom", ['"Spring"', '"a \\"quote\\""', '{"crm": "17", "n": [1, null]}', "{}", "7", "true", "1e400"]
)
def test_custom_is_kept_as_json_text_at_both_levels(custom: str) -> None:
    assert parse(in_general(f'"custom": {custom}')) == batch(custom=custom)
    assert parse(in_result(f'"custom": {custom}')) == batch(results=results([None], fields={"custom": [custom]}))
    assert parse(in_result(f'"custom": {custom}, "new": 1')).results.fields["custom"] == [custom]
    assert parse(in_general('"custom": null')) == batch()


@pytest.mark.parametrize(
    "stats, expected",
    [
        ('"found": 2', Stats(found=2)),
        ('"valid": 2', Stats(found=2)),
        ('"found": 2, "valid": 3', Stats(found=2, unknown={"valid": "3"})),
        ('"requested": "2", "finished": "1"', Stats(requested=2, finished=1)),
        ('"credits_cost": 80', Stats(credits_cost=Decimal(80))),
        ('"credits_cost": "80"', Stats(credits_cost=Decimal(80))),
        ('"credits_cost": 0.1', Stats(credits_cost=Decimal("0.1"))),
        ('"credits_cost": null', Stats()),
        ('"credits_cost": 12345678901234567890123456789.123456789',
         Stats(credits_cost=Decimal("12345678901234567890123456789.123456789"))),
        ('"credits_cost": {"initial": 100, "refunded": 20, "final": 80}',
         Stats(credits_cost=Decimal(80), credits_to_refund=Decimal(20), unknown={"credits_cost__initial": "100"})),
        ('"credits_cost": {"final": "80", "new": {"a": 1}}',
         Stats(credits_cost=Decimal(80), unknown={"credits_cost__new": '{"a": 1}'})),
        ('"credits_cost": {"refunded": 20, "final": 80}, "credits_to_refund": 19',
         Stats(credits_cost=Decimal(80), credits_to_refund=Decimal(19), unknown={"credits_cost__refunded": "20"})),
    ],
)  # fmt: skip
def test_counts_and_credits_of_every_page(stats: str, expected: Stats) -> None:
    assert parse(in_stats(stats)) == batch(stats=expected)


@pytest.mark.parametrize(
    "index, expected",
    [("0", 0), ('"7"', 7), ("7.0", 7), ("-1", -1), ("null", None), ("9223372036854775807", 2**63 - 1)],
)
def test_index_is_a_whole_number_however_it_is_written(index: str, expected: int | None) -> None:
    assert parse(in_result(f'"index": {index}')) == batch(results=results([expected]))


def test_odd_indexes_are_kept() -> None:
    """Missing and repeated indexes are kept as they come."""
    assert parse(beside_general('"results": [{"index": 1}, {}, {"index": 1}]')) == batch(results=results([1, None, 1]))


def test_id_may_be_absent_or_null() -> None:
    assert parse(b'{"general": {"status": "failed"}}') == parse(b'{"general": {"id": null, "status": "failed"}}')
    assert parse(b'{"general": {"status": "failed"}}') == batch("failed")


# Nothing is dropped -------------------------------------------------------------------------------------------------


def test_undocumented_fields_are_kept_at_every_level() -> None:
    body = f"""{{
        "general": {{"id": "{BATCH_ID}", "status": "completed", "name": "Spring", "owner": {{"id": 7}}}},
        "stats": {{"requested": 2, "invalid": 1}},
        "results": [{{"index": 0, "carrier": "Acme", "params": {{"dept": "Sales"}}}},
                    {{"index": 1, "score": 0.50, "params": {{"tags": ["a", "b"], "dept": null}}}}],
        "warnings": [], "next": null
    }}""".encode()
    assert parse(body) == batch(
        stats=Stats(requested=2, unknown={"invalid": "1"}),
        results=results(
            [0, 1],
            fields={"carrier": ["Acme", None], "score": [None, "0.50"]},
            params={"dept": ["Sales", None], "tags": [None, '["a", "b"]']},
        ),
        unknown={"name": "Spring", "owner": '{"id": 7}'},
        undocumented_top={"warnings": "[]", "next": None},
    )


@pytest.mark.parametrize("also", ["", ', "new": 1'])
def test_the_last_of_duplicate_keys_counts(also: str) -> None:
    parsed = parse(in_result(f'"index": 0, "number": "+12025550100", "index": 1, "number": "+12025550101"{also}'))
    assert (parsed.results.index, parsed.results.fields["number"]) == ([1], ["+12025550101"])


@pytest.mark.parametrize("also", ["", ', "new": 1'])
@pytest.mark.parametrize(
    "written, kept",
    [
        (r"a\u0000b", "a\N{REPLACEMENT CHARACTER}b"),
        (r"\ud83d", "\N{REPLACEMENT CHARACTER}"),
        (r"\uDE00\uD83D", "\N{REPLACEMENT CHARACTER}" * 2),
        (r"\ud83d\ud83d\ude00", "\N{REPLACEMENT CHARACTER}\N{GRINNING FACE}"),
        (r"\uD83D\uDe00", "\N{GRINNING FACE}"),
        (r"\\u0000 \\ud83d", r"\u0000 \ud83d"),
        (r"\\\u0000", "\\\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_characters_that_cannot_be_stored_are_replaced(written: str, kept: str, also: str) -> None:
    parsed = parse(in_result(f'"number": "{written}", "custom": "{written}"{also}'))
    custom = parsed.results.fields["custom"][0]
    assert (parsed.results.fields["number"], json.loads(custom or "")) == ([kept], kept)


@pytest.mark.parametrize("nested", ["[" * 200 + "]" * 200, '{"a":' * 200 + "1" + "}" * 200])
def test_two_hundred_levels_are_kept(nested: str) -> None:
    assert parse(in_general(f'"custom": {nested}, "new": {nested}')) == batch(custom=nested, unknown={"new": nested})


# Errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, message",
    [
        (b"{}", "general is missing"),
        (b"null", "general is missing"),
        (b'["+12025550147"]', "the body is an array, expected an object"),
        (b'\n ["+12025550147"]', "the body is an array, expected an object"),
        (b'"+12025550147"', "the body is a string, expected an object"),
        (b'{"general": "+12025550147"}', "general is a string, expected an object"),
        (b'{"general": null}', "general.status is missing"),
        (b'{"general": {"status": null}}', "general.status is missing"),
        (b'{"general": {"status": ["+12025550147"]}}', "general.status is an array, expected a string or null"),
        (b'{"general": {"id": 12025550147, "status": "x"}}', "general.id is a number, expected a string or null"),
        (b'{"general": {"id": "+12025550147", "status": "x"}}', "general.id is not the id that was asked for"),
        (b'{"general": {"id": "", "status": "x", "new": 1}}', "general.id is not the id that was asked for"),
        (
            beside_general('"results": {"+12025550147": 1}'),
            "results is an object, expected an array of at most 30,000 results",
        ),
        (beside_general('"results": [{}, null]'), "results[1] is null, expected an object"),
        (beside_general('"results": [{}, {}, 12025550147]'), "results[2] is a number, expected an object"),
        (in_result('"params": "+12025550147"'), "results[0].params is a string, expected an object"),
        (in_result('"number": 12025550147'), "results[0].number is a number, expected a string or null"),
        (in_result('"country": false'), "results[0].country is false, expected a string or null"),
        (in_result('"qualification": {}'), "results[0].qualification is an object, expected a string or null"),
        (in_result('"index": true'), "results[0].index is true, expected a whole number"),
        (in_result('"index": "tel:+12025550147"'), "results[0].index is a string, expected a whole number"),
        (in_result('"index": 12025550147.5'), "results[0].index is no whole number of 64 bits"),
        (in_result('"index": "NaN"'), "results[0].index is no whole number of 64 bits"),
        (in_result('"index": 1e400'), "results[0].index is no whole number of 64 bits"),
        (in_result('"index": 9223372036854775808'), "results[0].index is no whole number of 64 bits"),
    ],
)
def test_impossible_value_names_the_field(body: bytes, message: str) -> None:
    """An impossible value is an error that names the field and not the value."""
    error = error_of(body)
    assert (error.message, str(error), error.kind) == (message, message, ErrorKind.INVALID_RESPONSE)
    assert "12025550147" not in "".join(traceback.format_exception(error))


def test_a_hundred_thousand_levels_are_an_error() -> None:
    assert error_of(in_general('"new": ' + "[" * 100_000 + "]" * 100_000)).message == "the body is nested too deeply"


@pytest.mark.parametrize(
    "body, message",
    [
        (beside_general('"stats": "+12025550147"'), "stats is a string, expected an object"),
        (in_stats('"requested": -1e19'), "stats.requested is no whole number of 64 bits"),
        (in_stats('"finished": ["+12025550147"]'), "stats.finished is an array, expected a whole number"),
        (in_stats('"valid": 0.5'), "stats.found is no whole number of 64 bits"),
        (in_stats('"credits_cost": true'), "stats.credits_cost is true, expected a number"),
        (in_stats('"credits_cost": {"final": "+12025550147x"}'), "stats.credits_cost is a string, expected a number"),
    ],
)
def test_an_impossible_count_costs_itself(body: bytes, message: str) -> None:
    """What stands beside the results is left out where it is impossible; the message does not show the value."""
    assert parse(body) == batch(invalid_stats=(message,))


@pytest.mark.parametrize("field", ["credits_cost", "credits_to_refund"])
@pytest.mark.parametrize(
    "credits_", ['"NaN"', '"-NaN"', '"Infinity"', "1e400", "0.0123456789", "0.30000000000000004", "1" * 30, "1" * 38]
)
def test_too_many_credits_cost_themselves(field: str, credits_: str) -> None:
    """Credits that no destination can hold are left out; the other counts and the results stay."""
    other = {"credits_cost": "credits_to_refund", "credits_to_refund": "credits_cost"}[field]
    parsed = parse(in_stats(f'"{field}": {credits_}, "{other}": 40, "found": 1'))
    assert parsed.invalid_stats == (f"stats.{field} is no number of at most 38 digits, 9 of them decimals",)
    amounts: dict[str, Any] = {other: Decimal(40)}
    assert parsed.stats == Stats(found=1, **amounts)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html><body>Bad Gateway</body></html>",
        b"\xef\xbb\xbf" + in_general('"custom": 1'),
        in_stats('"credits_cost": NaN'),
        in_general('"custom": "a\0b"'),
        in_general('"custom": 1')[:-1],
        in_general('"custom": 1') + b"}",
        # The same where a field that nobody has documented comes first.
        in_stats('"new": 1, "credits_cost": NaN'),
        in_general('"new": "a\0b"'),
        in_general('"new": "\\q"'),
        in_general('"new": 1')[:-1],
        in_general('"new": 1') + b"}",
    ],
)
def test_what_is_not_json_is_an_error(body: bytes) -> None:
    assert error_of(body).message.startswith("the body is not JSON: ")


def test_what_is_not_utf_8_is_an_error() -> None:
    body = '{"general": {"id": "", "status": "+1 202 555 0147 é"}}'.encode("latin-1")
    assert error_of(body).message == "the body is not UTF-8: invalid continuation byte at byte 50"


# Properties ---------------------------------------------------------------------------------------------------------


@PROPERTY
@given(bodies)
def test_all_ways_of_decoding_give_the_same_batch(body: bytes) -> None:
    strictly = strict.batch_of(BATCH_ID, strict.STRICT.decode(body))
    openly = strict.batch_of(BATCH_ID, strict.CUSTOM_PARAMS.decode(body))
    assert parse(body) == strictly == openly == lenient.parse_leniently(BATCH_ID, body)


@pytest.mark.slow
@PROPERTY
@given(payloads_with_own_keys())
def test_own_keys_give_the_same_batch_both_ways(payload: Json) -> None:
    body = json.dumps(payload).encode()
    openly = strict.batch_of(BATCH_ID, strict.CUSTOM_PARAMS.decode(body))
    assert parse(body) == openly == lenient.parse_leniently(BATCH_ID, parser._storable(body))


@PROPERTY
@given(payloads())
def test_older_and_newer_pages_give_the_same_batch(payload: Json) -> None:
    assert parse(json.dumps(as_on_older_pages(payload)).encode()) == parse(json.dumps(payload).encode())


@settings(PROPERTY, max_examples=400)
@given(odd_bodies | broken_bodies() | st.binary())
def test_any_bytes_parse_or_are_an_invalid_response(body: bytes) -> None:
    try:
        received = parse(body).results
    except InvalidResponseError:
        return
    columns = [*received.fields.values(), *received.params.values()]
    assert {len(received.index), *map(len, columns)} == {received.count}
