"""The cases of the conformance suite: the same for every destination, through the public interface alone."""

import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dlt
import pytest
from dlt.extract import DltSource
from dlt.load import Load
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import enrow_source
from enrow_source.destination import ledger
from enrow_source.destination.comments import comment_tables
from enrow_source.destination.results_loaded import compare_rows
from enrow_source.errors import EnrowError
from enrow_source.testing import SimulatedEnrow, bodies
from tests.destinations.dataset import Column, LakeDataset, TargetDataset
from tests.destinations.served import TABLES, Body, Row, decoded, in_order, rows_of
from tests.destinations.targets import Target
from tests.support import REPOSITORY

PAGES = REPOSITORY / "docs" / "reference" / "tables"


class Account:
    """Batches of the simulated API, whose bodies are known."""

    def __init__(self, api: SimulatedEnrow) -> None:
        self._api = api
        self._served: dict[str, list[Body]] = {}

    def add(self, *fetches: Body) -> str:
        """Add a batch that answers each fetch with the next body, and with the last one thereafter."""
        batch_id: str = fetches[0]["general"]["id"]
        self._served[batch_id] = list(fetches)
        return self._api.respond(batch_id, *(_encoded(body) for body in fetches))

    def completed(self, batch_id: str, results: int = 7, **variants: Any) -> str:
        return self.add(bodies.completed(batch_id, results, seed=5, **variants))

    def source(self, *batch_ids: str, **options: Any) -> DltSource:
        return enrow_source(list(batch_ids), enrow_api_key=self._api.api_key, enrow_base_url=self._api.url, **options)

    def fetches(self, *batch_ids: str) -> tuple[int, ...]:
        return tuple(map(self._api.fetches, batch_ids))

    def expected(self, *batch_ids: str, errors: tuple[Row, ...] = ()) -> dict[str, list[Row]]:
        """Return what the tables must hold: of each batch what its last fetch was answered with."""
        last = (self._served[b][min(self._api.fetches(b), len(self._served[b])) - 1] for b in batch_ids)
        return rows_of(last, errors)


def _encoded(body: object) -> bytes:
    """JSON in UTF-8; with escapes where that has no place for a character."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


@pytest.fixture
def account() -> Iterator[Account]:
    with SimulatedEnrow() as api:
        yield Account(api)


def held(warehouse: TargetDataset) -> dict[str, list[Row]]:
    """Return what the tables hold, and check the columns that differ from run to run."""
    loads = set(warehouse.finished_loads())
    tables: dict[str, list[Row]] = {}
    for table in TABLES:
        rows = [decoded(row) for row in warehouse.rows(table)]
        for row in rows:
            assert row.pop("_dlt_load_id") in loads
            for name in ("fetched_at", "first_seen_at") if table == "batches" else ("fetched_at",):
                assert abs(datetime.now(UTC) - row.pop(name)) < timedelta(minutes=10)
        tables[table] = in_order(rows)
    # A table of ids that were left is made with the first of them.
    return {table: tables[table] for table in TABLES}


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Tell which tables have rows, or columns, too many and too few, and the first of them."""
    message = []
    for table in expected:
        has, wants = (
            items if isinstance(items, list) else list(items.items()) for items in (found[table], expected[table])
        )
        if has != wants:
            extra, missing = [row for row in has if row not in wants], [row for row in wants if row not in has]
            message.append(
                f"{table}: {len(has)} for {len(wants)}; {len(extra)} extra {extra[:2]!r:.2000};"
                f" {len(missing)} missing {missing[:2]!r:.2000}"
            )
    return message


def test_first_load(warehouse: TargetDataset, account: Account) -> None:
    batches = [
        account.completed("plain"),
        account.completed("empty", 0),
        account.completed("custom", 3, custom={"campaign": "spring", "n": [1, 2]}, result_custom="reference-7"),
        account.completed("custom-text", 2, custom="spring", result_custom={"row": 7}),
        account.add(bodies.documented()),
        account.add(bodies.ongoing("ongoing", 9, 4)),
        account.add(bodies.failed("failed", {"requested": 3})),
    ]
    warehouse.run(account.source(*batches, "nobody-knows"))
    error = {
        "batch_id": "nobody-knows",
        "http_status": 400,
        "kind": "expired_or_unknown",
        "message": "Could not retrieve bulk search results",
    }
    assert not differences(held(warehouse), account.expected(*batches, errors=(error,)))


def in_name_order(columns: dict[str, Column]) -> dict[str, Column]:
    return dict(sorted(columns.items()))


def declared() -> dict[str, dict[str, Column]]:
    """Read the columns that the reference declares."""
    tables: dict[str, dict[str, Column]] = {}
    for name in TABLES:
        page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
        lines = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|.*\|$", page, flags=re.MULTILINE)
        tables[name] = in_name_order({column: Column(kind, "not null" not in notes) for column, kind, notes in lines})
    assert all(tables.values())
    return tables


def test_types_and_nullability(warehouse: TargetDataset, account: Account) -> None:
    warehouse.run(account.source(account.completed("plain", 1)))
    assert not differences({table: in_name_order(warehouse.columns(table)) for table in TABLES}, declared())


def test_layout_and_descriptions(warehouse: TargetDataset, account: Account, target: Target) -> None:
    info = warehouse.run(account.source(account.completed("plain", 1)))
    comment_tables(warehouse.pipeline(), info)
    message = warehouse.layout("phone_results")
    assert target.layout
    assert [part for part in target.layout if part not in message] == [], message


@pytest.mark.slow
def test_nothing_to_do(warehouse: TargetDataset, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where more ids are given than the ledger statement names."""
    batches = [account.completed("one"), account.completed("none", 0), account.add(bodies.failed("failed"))]
    warehouse.run(account.source(*batches))
    before = {table: in_order(warehouse.rows(table)) for table in TABLES}
    warehouse.run(account.source(*batches))
    monkeypatch.setattr(ledger, "LEDGER_NARROW_IDS", 1)
    warehouse.run(account.source(*batches), container="second")
    assert account.fetches(*batches) == (1, 1, 1)
    assert {table: in_order(warehouse.rows(table)) for table in TABLES} == before


def test_ongoing_to_completed(warehouse: TargetDataset, account: Account) -> None:
    def becoming(batch_id: str) -> str:
        return account.add(bodies.ongoing(batch_id, 6, 2), bodies.completed(batch_id, 6))

    given, forgotten, running = becoming("given"), becoming("forgotten"), account.add(bodies.ongoing("running", 4, 1))
    warehouse.run(account.source(given, forgotten, running))
    assert not differences(held(warehouse), account.expected(given, forgotten, running))
    warehouse.run(account.source(given))
    assert account.fetches(given, forgotten, running) == (2, 2, 2)
    assert not differences(held(warehouse), account.expected(given, forgotten, running))
    warehouse.run(account.source(), container="second")
    assert account.fetches(given, forgotten, running) == (2, 2, 3)
    assert not differences(held(warehouse), account.expected(given, forgotten, running))


@pytest.mark.slow
def test_new_params_key(warehouse: TargetDataset, account: Account) -> None:
    old = account.completed("old", 3)
    warehouse.run(account.source(old))
    new = account.completed(
        "new", 4, extra={"params": {"seniority": "senior", "tags": ["a", {"b": None}]}, "result": {"confidence": 0.93}}
    )
    warehouse.run(account.source(old, new))
    added = {name: Column("text", nullable=True) for name in ("params__seniority", "params__tags", "confidence")}
    assert in_name_order(warehouse.columns("phone_results")) == in_name_order(declared()["phone_results"] | added)
    assert not differences(held(warehouse), account.expected(old, new))
    newer = account.completed("newer", 2, extra={"params": {"seniority": 3}})
    warehouse.run(account.source(newer), container="second")
    assert not differences(held(warehouse), account.expected(old, new, newer))


@pytest.mark.slow
def test_failed_then_completed(warehouse: TargetDataset, account: Account) -> None:
    """Results of a batch that has failed are counted, and loaded once it is completed."""
    failed = bodies.completed("failed", 9)
    failed["general"]["status"] = "failed"
    batch_id, other = account.add(failed, bodies.completed("failed", 4)), account.completed("other", 3)
    warehouse.run(account.source(batch_id, other))
    assert not differences(held(warehouse), account.expected(batch_id, other))
    warehouse.run(account.source())
    assert account.fetches(batch_id, other) == (1, 1)
    warehouse.run(account.source(retry_failed=True))
    assert account.fetches(batch_id, other) == (2, 1)
    assert not differences(held(warehouse), account.expected(batch_id, other))


def shrinking(warehouse: TargetDataset, account: Account, results: int) -> None:
    """Load a batch again that is complete under a load which was not, and has fewer results by then."""
    other = account.completed("other", 3)
    warehouse.run(account.source(other))
    (first,) = warehouse.finished_loads()
    shrinks = account.add(bodies.completed("shrinks", 9), bodies.completed("shrinks", results))
    warehouse.run(account.source(shrinks))
    (second,) = set(warehouse.finished_loads()) - {first}
    warehouse.forget_load(second)
    warehouse.run(account.source())
    assert account.fetches(shrinks, other) == (2, 1)
    assert not differences(held(warehouse), account.expected(shrinks, other))


@pytest.mark.slow
def test_a_batch_that_shrinks(warehouse: TargetDataset, account: Account) -> None:
    shrinking(warehouse, account, 4)


def test_a_batch_that_shrinks_to_nothing(warehouse: TargetDataset, account: Account) -> None:
    shrinking(warehouse, account, 0)


@pytest.mark.slow
def test_completed_then_failed(warehouse: TargetDataset, account: Account) -> None:
    """A batch that was complete under a load which was not, and has failed by then, keeps no results."""
    other = account.completed("other", 3)
    warehouse.run(account.source(other))
    loads = set(warehouse.finished_loads())
    batch_id = account.add(bodies.completed("fails", 5), bodies.failed("fails"))
    warehouse.run(account.source(batch_id))
    (torn,) = set(warehouse.finished_loads()) - loads
    warehouse.forget_load(torn)
    warehouse.run(account.source(), container="fresh")
    assert account.fetches(batch_id, other) == (2, 1)
    assert not differences(held(warehouse), account.expected(batch_id, other))


@pytest.mark.slow
def test_one_table_then_all(warehouse: TargetDataset, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch whose results alone were loaded is loaded again, as it is by then; more ids are given than are named."""
    monkeypatch.setattr(ledger, "LEDGER_NARROW_IDS", 0)
    shrinks = account.add(bodies.completed("shrinks", 6), bodies.completed("shrinks", 2))
    empties = account.add(bodies.completed("empties", 6), bodies.completed("empties", 0))
    warehouse.run(account.source(shrinks, empties).with_resources("phone_results"))
    warehouse.run(account.source(shrinks, empties))
    assert account.fetches(shrinks, empties) == (2, 2)
    assert not differences(held(warehouse), account.expected(shrinks, empties))


@pytest.mark.slow
def test_refresh_drop_sources(warehouse: TargetDataset, account: Account) -> None:
    kept = account.add(bodies.completed("kept", 5), bodies.completed("kept", 2))
    gone = account.completed("gone", 4, extra={"params": {"seniority": "senior"}})
    warehouse.run(account.source(kept, gone, "nobody-knows"))
    warehouse.run(account.source(kept), refresh="drop_sources")
    assert account.fetches(kept, gone) == (2, 1)
    assert not differences(held(warehouse), account.expected(kept))
    assert warehouse.columns("phone_results") == declared()["phone_results"]
    warehouse.run(account.source(kept))
    assert account.fetches(kept) == (2,)


def test_torn_load_and_fresh_container(warehouse: TargetDataset, account: Account) -> None:
    whole = account.completed("whole", 4)
    warehouse.run(account.source(whole))
    (first,) = warehouse.finished_loads()
    # As a worker that was killed leaves it: all rows but no row of _dlt_loads, and the same with rows missing.
    unmarked, partial, unknown = (account.completed(name, 5) for name in ("unmarked", "partial", "unknown"))
    warehouse.run(account.source(unmarked, partial, unknown))
    (second,) = set(warehouse.finished_loads()) - {first}
    warehouse.forget_load(second)
    for table in ("phone_results", "phone_results_ledger"):
        warehouse.delete_batch(table, partial)
    # Its results were the first that were written: nobody knows of it until its id is given again.
    for table in ("batches", "batch_stats", "phone_results_ledger"):
        warehouse.delete_batch(table, unknown)
    warehouse.run(account.source(unknown), container="fresh")
    assert account.fetches(whole, unmarked, partial, unknown) == (1, 2, 2, 2)
    assert not differences(held(warehouse), account.expected(whole, unmarked, partial, unknown))
    warehouse.run(account.source(whole, unmarked, partial, unknown), container="fresher")
    assert account.fetches(whole, unmarked, partial, unknown) == (1, 2, 2, 2)


def test_killed_load_of_results_alone(
    warehouse: TargetDataset, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No ledger has a row of it, and nobody names its batches again: its results go with the next run."""
    kept, again, killed, new = (account.completed(name, 5) for name in ("kept", "again", "killed", "new"))
    warehouse.run(account.source(kept, again))
    with monkeypatch.context() as patch:
        patch.setattr(Load, "complete_package", _die)
        with pytest.raises(PipelineStepFailed):
            warehouse.run(account.source(again, killed, refetch=True))
    for table in ("batches", "batch_stats", "phone_results_ledger"):
        warehouse.delete_batch(table, killed)
    warehouse.run(account.source(new), container="fresh")
    assert not differences(held(warehouse), account.expected(kept, again, new))
    assert account.fetches(kept, again, killed, new) == (1, 3, 1, 1)
    warehouse.run(account.source(killed), container="fresher")
    assert not differences(held(warehouse), account.expected(kept, again, killed, new))
    assert account.fetches(kept, again, killed, new) == (1, 3, 2, 1)


def _die(*_: object) -> None:
    raise RuntimeError("killed")


def test_pipeline_of_another_source(warehouse: TargetDataset, account: Account) -> None:
    """Its schema is the default one of the pipeline."""
    warehouse.pipeline().run([{"name": "other"}], table_name="others", schema=dlt.Schema("other"))
    batch = account.add(bodies.completed("shrinks", 5), bodies.completed("shrinks", 2))
    warehouse.run(account.source(batch))
    warehouse.run(account.source(batch, refetch=True))
    assert not differences(held(warehouse), account.expected(batch))


@pytest.mark.slow
@pytest.mark.parametrize("table", ["phone_results_ledger", "batches", "phone_results"])
def test_dropped_table_and_pruned_loads(warehouse: TargetDataset, account: Account, table: str) -> None:
    """What was in the table is fetched again, once; loads stay complete when `_dlt_loads` is pruned."""
    one, two, new = (account.completed(name, 3) for name in ("one", "two", "new"))
    warehouse.run(account.source(one, two))
    warehouse.drop_table(table)
    warehouse.run(account.source(new))
    warehouse.run(account.source())
    assert not differences(held(warehouse), account.expected(one, two, new))
    fetches = account.fetches(one, two, new)
    for load_id in sorted(warehouse.finished_loads())[:-1]:
        warehouse.forget_load(load_id)
    warehouse.run(account.source(one, two, new), container="fresh")
    assert account.fetches(one, two, new) == fetches


@pytest.mark.slow
def test_tables_of_before_a_column(warehouse: TargetDataset, account: Account) -> None:
    """The schema in the working folder knows a column that a restored backup, or what a killed load left, has not."""
    one = account.completed("one", 3)
    two, three = (account.add(_with_new_field(bodies.completed(name, 3, seed=5))) for name in ("two", "three"))
    warehouse.run(account.source(one, two))
    warehouse.lose_column("batches", "new_field")
    for pipeline in (warehouse.pipeline(), warehouse.pipeline("fresh"), warehouse.pipeline("fresh", name="another")):
        pipeline.run(account.source(one, two))
        assert account.fetches(one, two) == (1, 1)
    if isinstance(warehouse, LakeDataset):  # elsewhere a load names the column: docs/troubleshooting.md
        warehouse.run(account.source(three))
        held_now = {row["batch_id"]: row["new_field"] for row in warehouse.rows("batches")}
        assert held_now == {one: None, two: None, three: "1"}


def _with_new_field(body: Body) -> Body:
    return body | {"general": body["general"] | {"new_field": 1}}


TEXTS = (
    "Zoë Ødegård-Łukasz, 山田 太郎, Мария, \u200f\u05dc\u05d9\u05d0\u05d5\u05e8\u200e, e\u0301",
    "👩🏽‍💻 🇺🇸 \U0010ffff",
    " spaces around ",
    " ",
    "null",
    "NULL",
    "\\N",
    "NaN",
    "true",
    "0012",
    "1.0",
    "2026-01-01",
    '"quoted"',
    "O'Example; DROP TABLE batches; --",
    "a,b\tc|d\x1fe",
    "line\nbreak\r\nand\rmore",
    "back\\slash \\n \\u0041",
    "%s {0} :name $1 ?",
    "NUL \0 and half a pair \ud83d",
    "control \x01\x07\x1b\x7f",
)


@pytest.mark.slow
def test_unicode_and_long_text(warehouse: TargetDataset, account: Account) -> None:
    fetches: list[Body] = []
    for number, text in enumerate((*TEXTS, "long text, ÄÖÜ 山 " * 20_000)):
        batch_id = f"text-{number}"
        body = bodies.completed(batch_id, 2, custom=text, result_custom={"note": text})
        body["results"][0]["params"]["firstname"] = text
        body["results"][1]["params"]["undocumented"] = text
        fetches.append(body)
    batches = [account.add(body) for body in fetches]
    odd = [account.completed(batch_id, 1) for batch_id in ("O%s%(x)s", "$1?_%", "山田/é?&=#", "NULL")]
    warehouse.run(account.source(*batches, *odd))
    assert not differences(held(warehouse), account.expected(*batches, *odd))
    warehouse.run(account.source(*batches, *odd))
    assert set(account.fetches(*batches, *odd)) == {1}


@pytest.mark.slow
def test_empty_text(warehouse: TargetDataset, account: Account, target: Target) -> None:
    """An empty text is not null, unless dlt's usual file format for the destination makes it so."""
    texts = {"params": {"firstname": "", "undocumented": ""}}
    usual, kept = account.completed("usual", 2, extra=texts), account.completed("kept", 2, extra=texts)
    warehouse.run(account.source(usual))
    expected = account.expected(usual)
    if target.empty_text_kept_by is not None:
        for row in expected["phone_results"]:
            del row["params__firstname"], row["params__undocumented"]
    assert not differences(held(warehouse), expected)
    # Another folder: what was chosen once for a table stays.
    warehouse.run(account.source(kept), container="other", loader_file_format=target.empty_text_kept_by)
    results = [row for row in held(warehouse)["phone_results"] if row["batch_id"] == kept]
    assert results == account.expected(kept)["phone_results"]


def test_personal_data_hashed_and_dropped(warehouse: TargetDataset, account: Account) -> None:
    secret = "a secret that is long enough"

    def keyed_hash(value: object) -> str:
        text = value if isinstance(value, str) else _encoded(value).decode()
        return hmac.new(secret.encode(), text.encode(), "sha256").hexdigest()

    def treated(row: Row, treat: Callable[[str, Any], str | None]) -> Row:
        kept = ("batch_id", "status", "index", "qualification", "country")
        return {name: value if name in kept else treat(name, value) for name, value in row.items()}

    def hashed(name: str, value: object) -> str:
        return keyed_hash(_encoded(value).decode() if name == "custom" else value)

    options: dict[str, Any] = {"custom": {"campaign": "spring"}, "result_custom": "reference-7"}
    undocumented: dict[str, Any] = {"extra": {"params": {"seniority": "senior"}}}
    hash_me, drop_me = account.completed("hash", 9, **options, **undocumented), account.completed("drop", 5, **options)
    warehouse.run(account.source(hash_me, pii="hash", pii_secret=secret))
    warehouse.run(account.source(drop_me, pii="drop"))
    expected = account.expected(hash_me, drop_me)
    for table in ("batches", "phone_results"):
        expected[table] = in_order(
            treated(row, hashed if row["batch_id"] == hash_me else lambda _, __: None) for row in expected[table]
        )
    has_more = [row.pop("params__seniority", None) is not None for row in expected["phone_results"]]
    found = held(warehouse)
    overflow = [row.pop("params__overflow", None) for row in found["phone_results"]]
    assert not differences(found, expected)
    # Names of undocumented fields are hidden too, so they are no columns.
    fields = {keyed_hash("seniority"): keyed_hash("senior")}
    decoded = [json.loads(value) if isinstance(value, str) else value for value in overflow]
    assert decoded == [fields if is_hashed else None for is_hashed in has_more]


@pytest.mark.slow
def test_another_pipeline_knows_what_is_loaded(warehouse: TargetDataset, account: Account) -> None:
    """A pipeline of another name, in a folder of its own, fetches nothing that is there."""
    batch = account.completed("a", 3)
    warehouse.run(account.source(batch))
    warehouse.pipeline("elsewhere", "another").run(account.source(batch))
    assert account.fetches(batch) == (1,)
    assert not differences(held(warehouse), account.expected(batch))


def test_rows_are_compared_with_the_ledger(warehouse: TargetDataset, account: Account) -> None:
    """What `enrow check` compares, from another container."""
    warehouse.run(account.source(account.completed("a", 3), account.completed("none", 0), account.completed("b", 2)))
    elsewhere = warehouse.pipeline("elsewhere")
    assert compare_rows(elsewhere) == "phone_results has the rows that results_loaded says"
    warehouse.delete_batch("phone_results", "b")
    with pytest.raises(EnrowError, match=r" b \(0 rows, 2 loaded\)\. .*enrow run b --refetch"):
        compare_rows(elsewhere)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_3000_x_20_rows(warehouse: TargetDataset, account: Account) -> None:
    batches = [account.completed(f"full-{number}", bodies.MAX_RESULTS) for number in range(20)]
    warehouse.run(account.source(*batches))
    assert not differences(held(warehouse), account.expected(*batches))
    warehouse.run(account.source(*batches))
    assert set(account.fetches(*batches)) == {1}
