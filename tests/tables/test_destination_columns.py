"""Fields that a destination has no column for: names of its own, contracts, keys that differ in case alone."""

import json
import random
import re
from typing import Any, cast

import pytest
from dlt.common.schema.typing import TSchemaContractDict
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import ConfigurationError
from enrow_source.runner.run import run
from enrow_source.testing import SimulatedEnrow
from tests.conftest import Configure, NewSource
from tests.support.store import DATASET, Store

pytest_plugins = ("tests.support.postgres", "tests.support.store")


def completed(batch_id: str, results: list[dict[str, Any]], **general: Any) -> bytes:
    body = {
        "general": {"id": batch_id, "status": "completed"} | general,
        "stats": {"requested": len(results), "found": 0, "credits_cost": 0},
        "results": [{"index": n, "qualification": "not_found", "params": {}} | r for n, r in enumerate(results)],
    }
    return json.dumps(body).encode()


SYSTEM = ("xmin", "ctid", "tableoid", "cmin", "XMAX", "oid", "rowid", "_PARTITIONTIME", "_TABLE_x", "_FILE_y")
MORE = ("_ROW_TIMESTAMP", "_change_type", "select", "order", "user", "1", "k" * 300, "k" * 299 + "l", "😀", 'q"', "a%s")


@pytest.mark.parametrize("naming", ["direct", pytest.param("snake_case", marks=pytest.mark.slow)])
def test_no_key_ends_a_run(
    api: SimulatedEnrow, new_source: NewSource, store: Store, naming: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHEMA__NAMING", naming)
    keys = (*SYSTEM, *MORE, "ß" * 62, "nul\0", "CrmId", "crmid", "NUMBER", "Batch_Id")
    fields = {key: f"value of {n}" for n, key in enumerate(keys)}
    api.respond("odd", completed("odd", [fields | {"params": fields}], **fields))
    api.add_completed("good", 2)
    store.run(new_source(["odd", "good"]))
    store.run(new_source(["odd", "good"]))
    assert store.counts() == {"odd": 1, "good": 2}
    assert api.fetches("odd") == 1
    for table, times in ("phone_results", 2), ("batches", 1):
        held = " ".join(map(str, *store.sql(f"SELECT * FROM {DATASET}.{table} WHERE batch_id = 'odd'")))
        for n in range(len(keys)):
            assert len(re.findall(rf"value of {n}\b", held)) == times, (table, keys[n])


@pytest.mark.parametrize("store", ["postgres", pytest.param("duckdb", marks=pytest.mark.slow)], indirect=True)
def test_long_ids_fit_into_the_index(api: SimulatedEnrow, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
    long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=255))
    run([api.add_completed("short", 2)], pipeline=store.pipeline())
    report = run([api.add_completed(long, 3), api.add_completed("next", 1)], pipeline=store.pipeline())
    assert (report.completed, int(report.exit_code)) == (2, 0)
    assert store.counts() == {"short": 2, long: 3, "next": 1}


NEW: list[dict[str, Any]] = [{"seniority": "cto"}, {}, {"params": {"team": "x"}}]


@pytest.mark.slow
@pytest.mark.parametrize("mode,rows", [("discard_row", 1), ("discard_value", 3)])
@pytest.mark.parametrize("where", ["resource", "run", "config"])
def test_contract_leaves_out_and_claims_nothing(  # noqa: PLR0917 - fixtures
    api: SimulatedEnrow,
    new_source: NewSource,
    store: Store,
    configure: Configure,
    logged: pytest.LogCaptureFixture,
    mode: str,
    rows: int,
    where: str,
) -> None:
    store.run(new_source([api.add_completed("a", 2)]))
    api.respond("b", completed("b", NEW))
    if where == "config":
        configure(config=f'[sources.enrow]\nschema_contract = "{mode}"')
    source, contract = new_source(["b"]), cast("TSchemaContractDict", {"columns": mode})
    if where == "resource":
        source.phone_results.apply_hints(schema_contract=contract)
    store.run(source, schema_contract=contract if where == "run" else None)
    assert store.counts() == {"a": 2, "b": rows}
    assert store.sql(f"SELECT results_loaded FROM {DATASET}.phone_results_ledger WHERE batch_id = 'b'") == [(rows,)]
    assert "schema_contract of phone_results leaves out 1 rows or values for their field 'seniority'" in logged.text
    store.run(new_source(["a", "b"]))
    assert api.fetches("b") == 1


@pytest.mark.parametrize("store", ["duckdb", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True)
def test_a_frozen_table_fails_the_run(
    api: SimulatedEnrow, new_source: NewSource, store: Store, configure: Configure
) -> None:
    configure(config='[sources.enrow.schema_contract]\ncolumns = "freeze"')
    store.run(new_source([api.add_completed("a", 2)]))
    store.run(new_source([api.add_completed("c", 2)]))
    api.respond("b", completed("b", NEW))
    with pytest.raises(PipelineStepFailed, match="frozen"):
        store.run(new_source(["b"]))
    assert store.counts() == store.counts("phone_results_ledger") | {"a": 2, "c": 2}
    configure()
    store.run(new_source(["b"]))
    assert store.counts()["b"] == 3


def test_a_contract_that_is_none_is_refused(new_source: NewSource, configure: Configure) -> None:
    configure(config='[sources.enrow]\nschema_contract = "frozen"')
    with pytest.raises(ConfigurationError, match="schema_contract is 'frozen'"):
        new_source(["a"])
