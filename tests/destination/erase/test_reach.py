"""How far an erasure reaches: every staging dataset, free text; and what is counted without a secret."""

from __future__ import annotations

from typing import Any

import pytest

from enrow_source import Subject, SubjectKind, erase
from enrow_source.runner.check import Check, Outcome, checks
from enrow_source.runner.report import ExitCode
from enrow_source.testing import SimulatedEnrow
from tests.destination.erase.store import (
    NUMBER,
    OTHER,
    OTHER_NUMBER,
    PERSON,
    URL,
    Store,
    batch,
    in_both,
    in_duckdb,
    load,
)
from tests.support.command import Command

pytest_plugins = ("tests.support.postgres",)
pytestmark = pytest.mark.usefixtures("settings")


def copies(store: Store, *schemas: str) -> None:
    for schema in schemas:
        store.query(f"CREATE SCHEMA {schema}" + ("" if store.destination == "duckdb" else "; SELECT 1"))
        copy = f"CREATE TABLE {schema}.phone_results AS SELECT * FROM {store.dataset}.phone_results"
        store.query(copy + ("" if store.destination == "duckdb" else "; SELECT 1"))


def left(store: Store, schema: str) -> int:
    ((count,),) = store.query(f"SELECT count(*) FROM {schema}.phone_results WHERE number = '{NUMBER}'")
    return int(count)


@pytest.mark.slow
@in_both
def test_staging_datasets_of_killed_shards(store: Store, command: Command) -> None:
    """A shard that was killed leaves its own; the datasets of others, and theirs, are not touched."""
    load(store, "first")
    load(store, "first", refetch=True)
    own = [f"{store.dataset}_staging_enrow_3_of_64", f"run_7_of_{store.dataset}"]
    others = [f"{store.dataset}_eu", f"{store.dataset}_eu_staging"]
    copies(store, *own, *others)
    table = f"CREATE TABLE {others[0]}._dlt_loads AS SELECT * FROM {store.dataset}._dlt_loads"
    store.query(table + ("" if store.destination == "duckdb" else "; SELECT 1"))
    counted = command("--number", NUMBER)
    assert "rows to erase            3  phone_results (staging)" in counted.stdout
    assert command("--number", NUMBER, "--execute").returncode == ExitCode.OK
    assert [left(store, schema) for schema in own] == [0, 0]
    assert [left(store, schema) for schema in others] == [1, 1]
    assert command("--number", OTHER_NUMBER, "--execute").returncode == ExitCode.OK
    assert store.recorded()[-1][5] == 1


def test_texts_that_mention_a_person_are_emptied(store: Store, command: Command, api: SimulatedEnrow) -> None:
    """Also a batch's, and those of another person's row, which stays; in columns of undocumented fields too."""
    body: dict[str, Any] = batch("third", PERSON, OTHER)
    body["general"] |= {"custom": {"for": "+1 (415) 555-0123"}, "owner": f"see {URL.upper()}/"}
    body["stats"]["note"] = f"called {NUMBER}"
    body["results"][1] |= {"custom": f"asked by {NUMBER}", "referrer": f"{URL}?from=mail"}
    api.respond("third", body)
    near = batch("near", OTHER)
    near["results"][0] |= {"custom": f"{NUMBER}4", "referrer": f"{URL}-junior"}
    api.respond("near", near)
    load(store, "third", "near")
    counted = command("--number", NUMBER).stdout
    assert "texts to empty           1  batches.custom" in counted
    for option, value in (("--number", NUMBER), ("--linkedin-url", URL)):
        assert command(option, value, "--execute").returncode == ExitCode.OK
    assert store.sql("SELECT batch_id, custom, owner FROM batches ORDER BY 1") == [
        ("near", None, None),
        ("third", None, None),
    ]
    assert store.sql("SELECT note FROM batch_stats ORDER BY batch_id") == [(None,), (None,)]
    assert store.sql("SELECT batch_id, number, custom, referrer FROM phone_results ORDER BY 1") == [
        ("near", OTHER_NUMBER, f'"{NUMBER}4"', f"{URL}-junior"),
        ("third", OTHER_NUMBER, None, None),
    ]
    assert "texts" not in command("--number", NUMBER).stdout


@in_duckdb
def test_a_count_wants_no_secret(store: Store, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    load(store, "first")
    monkeypatch.delenv("SOURCES__ENROW__PII_SECRET")
    counted = command("--number", NUMBER)
    assert (counted.returncode, counted.stderr) == (ExitCode.OK, "")
    assert counted.stdout.splitlines()[0] == "rows to erase            1  phone_results"
    assert "hashed rows are not counted: set pii_secret" in counted.stdout
    assert "hashed" not in command("--batch-id", "first").stdout
    before = store.dump()
    refused = command("--number", NUMBER, "--execute")
    assert refused.returncode == ExitCode.USAGE
    assert refused.stderr.startswith("error: erasing a person needs pii_secret")
    assert store.dump() == before
    assert not erase(store.pipeline("counting"), Subject(SubjectKind.NUMBER, NUMBER)).has_hashes


def test_check_looks_for_erasures(store: Store, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a run fails for it, `enrow check` says that people were erased and that the secret is missing."""
    load(store, "first")
    command("--number", NUMBER, "--execute")
    command("--batch-id", "second", "--execute")
    assert "1 persons and 1 batches are erased and kept out" in checked(store).message
    monkeypatch.delenv("SOURCES__ENROW__PII_SECRET")
    check = checked(store)
    assert check.outcome is Outcome.FAILED
    assert "knowing them again needs the pii_secret of then" in check.message


def checked(store: Store) -> Check:
    (check,) = [one for one in checks(store.destination, store.dataset) if one.name == "destination"]
    return check
