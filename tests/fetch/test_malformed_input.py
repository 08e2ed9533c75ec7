"""Malformed and odd responses: a batch loads, or it is one row that names the field.

https://enrow.readme.io
"""

from collections.abc import Mapping

from enrow_source.testing import SimulatedEnrow
from tests.conftest import Load
from tests.support import faults_page
from tests.support.faults_page import BatchRows, batch_rows
from tests.support.malformed import LONG, PROFILE, RESULT, ROW, SQL, STATS, Case, Raw, as_json, healthy, message
from tests.support.warehouse import Row, Warehouse

PROFILE_ALONE = {"params__linkedin_url": PROFILE}
NOBODY = {column: value for column, value in ROW.items() if column != "params__linkedin_url"}
DEEP = 100_000
OURS = ("_dlt_load_id", "_dlt_id", "batch_id", "index", "fetched_at", "number", "params__firstname", "overflow")
OURS_IN_A_RESULT = ("_dlt_load_id", "_dlt_id", "batch_id", "fetched_at", "params__firstname", "overflow", "general")
OURS_IN_GENERAL = ("_dlt_load_id", "_dlt_id", "batch_id", "fetched_at", "overflow", "results")
OURS_IN_STATS = ("_dlt_load_id", "_dlt_id", "batch_id", "status", "results_received", "overflow")
NOT_JSON = "the body is not JSON"
NO_CREDITS = "is no number of at most 38 digits, 9 of them decimals"
TOO_DEEP = "the body is nested too deeply"


def with_result(what: str, changes: Mapping[str, object], error: str | None = None, **row: object) -> Case:
    """Make a case of one result with these fields; `row` is what is other than usual in its row."""
    return Case(what, results=[{**RESULT, **changes}], error=error, rows=(without_nulls({**ROW, **row}),))


def with_params(what: str, params: Mapping[str, object], error: str | None = None, **row: object) -> Case:
    """Make a case of one result with these keys beside the profile in its search."""
    return with_result(what, {"params": {"linkedin_url": PROFILE, **params}}, error, **row)


def without_nulls(row: Row) -> Row:
    return {column: value for column, value in row.items() if value is not None}


def nested(depth: int) -> Raw:
    return Raw('{"a":' * depth + "1" + "}" * depth)


CASES = [
    # general
    Case("`general.id` of another batch", {"id": "another"}, error="general.id is not the id that was asked for"),
    Case("`general.id` is null", {"id": None}),
    Case("`general.id` is a number", {"id": 7}, error="general.id is a number, expected a string or null"),
    Case("`general` is missing", top={"general": ...}, error="general is missing"),
    Case("`general` is null", top={"general": None}, error="general.status is missing"),
    Case("`general` is an array", top={"general": []}, error="general is an array, expected an object"),
    Case("`status` is null", {"status": None}, error="general.status is missing"),
    Case("`status` is a number", {"status": 1}, error="general.status is a number, expected a string or null"),
    Case("`status` that nobody has documented", {"status": "paused"}, rows=(), batch={"status": "paused"}),
    Case("`status` in capitals", {"status": "COMPLETED"}, rows=(), batch={"status": "COMPLETED"}),
    Case("the answer is an array", body=b"[]", error="the body is an array, expected an object"),
    Case("the answer is a string", body=b'"completed"', error="the body is a string, expected an object"),
    Case("the answer is null", body=b"null", error="general is missing"),
    # results
    Case("`results` is null", results=None, rows=(), seen_stats={"results_received": 0, "requested": 1}),
    Case("`results` is missing", results=..., rows=(), seen_stats={"results_received": 0, "requested": 1}),
    Case("`results` is empty", results=[], rows=(), seen_stats={"results_received": 0, "requested": 1}),
    Case("`results` is an object", results={}, error="results is an object, expected an array"),
    Case("`results` is a string", results="[]", error="results is a string, expected an array"),
    Case(
        "`results` shorter than `requested`",
        stats=STATS | {"requested": 3},
        seen_stats={"results_received": 1, "requested": 3},
    ),
    Case(
        "`results` longer than `requested`",
        results=[RESULT, RESULT | {"index": 1}],
        rows=(ROW, ROW | {"index": 1}),
        seen_stats={"results_received": 2, "requested": 1},
    ),
    Case("a result is null", results=[RESULT, None], error="results[1] is null, expected an object"),
    Case("a result is an array", results=[[]], error="results[0] is an array, expected an object"),
    Case("a result is empty", results=[{}], rows=({},), seen_stats={"results_received": 1, "found_received": 0}),
    Case("`params` is null", results=[RESULT | {"params": None}], rows=(NOBODY,)),
    Case("`params` is missing", results=[{key: RESULT[key] for key in RESULT if key != "params"}], rows=(NOBODY,)),
    with_result("`params` is an array", {"params": []}, "results[0].params is an array, expected an object"),
    with_result(
        "`number` is a number", {"number": 12025550100}, "results[0].number is a number, expected a string or null"
    ),
    with_result("`qualification` that nobody has documented", {"qualification": "maybe"}, qualification="maybe"),
    Case(
        "20 times as many results as a batch can have",
        results=Raw("[" + ",".join(["{}"] * 60_000) + "]"),
        error="results is out of range",
    ),
    # index
    Case("two results of one `index`", results=[RESULT, RESULT], rows=(ROW, ROW)),
    with_result("`index` is missing", {"index": None}, index=None),
    with_result("`index` is negative", {"index": -1}, index=-1),
    with_result("`index` of 63 bits", {"index": 2**63 - 1}, index=2**63 - 1),
    with_result("`index` past 64 bits", {"index": 2**63}, "results[0].index is no whole number of 64 bits"),
    with_result(
        "`index` of 5,000 digits", {"index": Raw("9" * 5_000)}, "results[0].index is no whole number of 64 bits"
    ),
    with_result("`index` is 1.5", {"index": 1.5}, "results[0].index is no whole number of 64 bits"),
    with_result('`index` is "7"', {"index": "7"}, index=7),
    with_result("`index` is true", {"index": True}, "results[0].index is true, expected a whole number"),
    # numbers
    Case("NaN", stats=STATS | {"credits_cost": Raw("NaN")}, error=NOT_JSON),
    Case("Infinity", stats=STATS | {"credits_cost": Raw("Infinity")}, error=NOT_JSON),
    Case('"NaN"', stats=STATS | {"credits_cost": "NaN"}, left_out=f"stats.credits_cost {NO_CREDITS}"),
    Case("1e400 credits", stats=STATS | {"credits_cost": Raw("1e400")}, left_out=f"stats.credits_cost {NO_CREDITS}"),
    Case(
        "credits with 10 decimals",
        stats=STATS | {"credits_to_refund": Raw("0.0000000001")},
        left_out=f"stats.credits_to_refund {NO_CREDITS}",
    ),
    Case(
        "`requested` past 64 bits",
        stats=STATS | {"requested": 2**64},
        left_out="stats.requested is no whole number of 64 bits",
    ),
    Case("`stats` is null", stats=None, seen_stats={"results_received": 1}),
    Case("`stats` is an array", stats=[], left_out="stats is an array, expected an object"),
    with_params("1e400 in `params`", {"big_float": Raw("1e400")}, params__big_float="1e400"),
    with_params("an integer past 64 bits in `params`", {"big_integer": 10**40}, params__big_integer=str(10**40)),
    # texts
    with_params("NUL, escaped, in a name", {"firstname": "Al\0ma"}, params__firstname="Al�ma"),
    Case("NUL as a byte", body=b'{"general":{"id":"BATCH","status":"com\0pleted"}}', error=NOT_JSON),
    with_params("half a surrogate pair in a name", {"firstname": "Al\ud800ma"}, params__firstname="Al�ma"),
    with_params(
        "a whole surrogate pair in a name", {"firstname": "Al\U0001f600ma"}, params__firstname="Al\U0001f600ma"
    ),
    with_params("NUL in a key", {"nul\0key": "v"}, params__nul_key="v"),
    with_params("a text of 1 MB", {"lastname": "x" * 1_000_000}, params__lastname="x" * 1_000_000),
    with_result("`custom` of 1 MB", {"custom": "y" * 1_000_000}, custom=f'"{"y" * 1_000_000}"'),
    with_params("200 levels of nesting in `params`", {"nested": nested(200)}, params__nested=nested(200)),
    with_result("200 levels of nesting in `custom`", {"custom": nested(200)}, custom=nested(200)),
    with_result("200 levels of nesting in a new field", {"deep": nested(200)}, deep=nested(200)),
    with_params(f"{DEEP:,} levels of nesting in `params`", {"nested": nested(DEEP)}, error=TOO_DEEP),
    Case(f"{DEEP:,} levels of nesting as the answer", body=b'{"a":' * DEEP + b"1" + b"}" * DEEP, error=TOO_DEEP),
    with_params("text that looks like SQL", {"lastname": SQL}, params__lastname=SQL),
    # keys
    with_params(
        "keys that differ in capitals and `_`",
        {"LinkedIn_URL": "1", "LINKEDIN_URL": "2", "linkedinUrl": "3"},
        params__linked_in_url="1",
        params__overflow='{"LINKEDIN_URL": "2", "linkedinUrl": "3"}',
    ),
    with_params("a key that looks like SQL", {SQL: "v"}, params___drop_table_phone_resultsxxx="v"),
    with_params("an empty key", {"": "v"}, params__overflow='{"": "v"}'),
    with_params("a key that is a blank", {" ": "v"}, params__overflow='{" ": "v"}'),
    with_params("a key of 500 characters", {LONG: "v"}, **{f"params__{LONG[:-1]}x": "v"}),
    with_params("a key with `__`", {"a__b": "v"}, params__a__b="v"),
    with_params(
        "two keys of which no letter is left",
        {"é": "1", "日本": "2"},
        params__x="1",
        params__overflow='{"日本": "2"}',
    ),
    with_params(
        "dlt's names and ours in `params`",
        dict.fromkeys(OURS, "v"),
        **{f"params__{key}": "v" for key in OURS if key != "overflow"},
        params__overflow='{"overflow": "v"}',
    ),
    Case(
        "dlt's names and ours in a result",
        results=[RESULT | dict.fromkeys(OURS_IN_A_RESULT, "v")],
        rows=(ROW | {"general": "v"} | {f"result__{key}": "v" for key in OURS_IN_A_RESULT if key != "general"},),
    ),
    Case(
        "dlt's names and ours in `general`",
        dict.fromkeys(OURS_IN_GENERAL, "v"),
        batch={"status": "completed", "results": "v"}
        | {f"general__{key}": "v" for key in OURS_IN_GENERAL if key != "results"},
    ),
    Case(
        "dlt's names and ours in `stats`",
        stats=STATS | dict.fromkeys(OURS_IN_STATS, "v"),
        seen_stats={"status": "completed", "results_received": 1} | {f"stats__{key}": "v" for key in OURS_IN_STATS},
    ),
    Case("a key twice in a result", results=[Raw(as_json(RESULT)[:-1] + ',"index":5}')], rows=(ROW | {"index": 5},)),
]


def test_malformed_input_concerns_its_batch_alone(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> None:
    """No malformed response stops another batch, and none is lost."""
    batches = {f"odd-{number:02}": case for number, case in enumerate(CASES)}
    ids = []
    for batch_id, case in batches.items():
        ids += [api.respond(batch_id, case.answer(batch_id)), healthy(api, f"healthy-{batch_id}")]
    report = load(ids)

    seen = batch_rows(warehouse)
    assert {batch_id: api.fetches(batch_id) for batch_id in ids} == dict.fromkeys(ids, 1)
    usual = seen["healthy-odd-00"]
    assert usual == BatchRows(usual.batches, usual.stats, [ROW], [])
    assert all(seen[f"healthy-{batch_id}"] == usual for batch_id in batches)
    for batch_id, case in batches.items():
        assert_as_expected(case, seen[batch_id])
    errors = sum(case.error is not None for case in CASES)
    pending = sum(case.batch["status"] != "completed" for case in CASES)
    assert (report.completed, report.other, report.unreadable) == (2 * len(CASES) - errors - pending, pending, errors)
    assert report.incomplete == sum(case.left_out is not None for case in CASES)
    faults_page.check("Malformed and odd responses", [message(case, seen[i], usual) for i, case in batches.items()])


def assert_as_expected(case: Case, rows_of_batch: BatchRows) -> None:
    if case.error is not None:
        kind, status, message = rows_of_batch.error
        assert (kind, status) == ("invalid_response", 200), case.what
        assert message.startswith(case.error), case.what
        return
    left_out = [(row["kind"], row["http_status"], row["message"]) for row in rows_of_batch.errors]
    expected = [("invalid_value", 200, case.left_out)] if case.left_out else []
    assert [(kind, status, text[: len(case.left_out or "")]) for kind, status, text in left_out] == expected, case.what
    assert rows_of_batch.batches == [case.batch], case.what
    assert rows_of_batch.results == list(case.rows), case.what
    (stats,) = rows_of_batch.stats
    assert stats == stats | case.seen_stats, case.what
