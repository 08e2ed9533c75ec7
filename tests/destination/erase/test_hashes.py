"""Erasure where personal columns are hashed or dropped."""

from pathlib import Path

import pyarrow as pa
import pytest

from enrow_source import Subject, SubjectKind, erase
from enrow_source.cli import run as run_command
from enrow_source.destination.suppressions import Suppressions
from enrow_source.runner.report import ExitCode
from enrow_source.tables.person import profile_key
from enrow_source.tables.privacy import Privacy
from enrow_source.testing import SimulatedEnrow
from tests.destination.erase.store import (
    NOT_FOUND,
    NUMBER,
    OTHER,
    OTHER_NUMBER,
    OTHER_URL,
    SECRET,
    URL,
    Store,
    batch,
    duckdb_store,
    hashed,
    in_duckdb,
    in_postgres,
    load,
)
from tests.support.command import Command

pytest_plugins = ("tests.support.postgres",)

pytestmark = pytest.mark.usefixtures("settings")


@in_postgres
def test_hashed_rows_are_found_with_the_same_secret(store: Store, command: Command) -> None:
    load(store, "first", pii="hash")
    ended = command("--linkedin-url", f"{URL}/", "--execute")
    assert ended.stdout.startswith("rows erased              1  phone_results\n")
    load(store, "second", "first", pii="hash", refresh="drop_sources")
    assert store.people() == [
        ("first", *map(hashed, OTHER)),  # type: ignore[arg-type]  # this one has a number
        ("first", hashed(NOT_FOUND[0]), None),
        ("second", *map(hashed, OTHER)),  # type: ignore[arg-type]
    ]


def test_hashed_spellings_are_tried(api: SimulatedEnrow, tmp_path: Path) -> None:
    """Spellings that may have been submitted are tried where columns are hashed."""
    given = {
        "https://www.linkedin.example/in/one": " https://www.linkedin.example/in/one/",
        "https://www.linkedin.example/in/two/": "https://WWW.linkedin.example/in/two",
        "https://WWW.linkedin.example/in/Three": "https://WWW.linkedin.example/in/Three/",
        "https://www.linkedin.example/in/Four": "HTTPS://WWW.linkedin.example/in/Four",
        "www.linkedin.example/in/five": "WWW.LINKEDIN.EXAMPLE/IN/FIVE",
    }
    store = duckdb_store(tmp_path)
    api.respond("third", batch("third", *((submitted, NUMBER) for submitted in given)))
    load(store, "third", pii="hash")
    pipeline = store.pipeline("erasing")
    for url in given.values():
        assert erase(pipeline, Subject(SubjectKind.LINKEDIN_URL, url)).rows["phone_results"] == 1, url
    assert erase(pipeline, Subject(SubjectKind.NUMBER, "+1 415 555-0123")).rows["phone_results"] == len(given)


@pytest.mark.slow
@in_postgres
def test_dropped_columns_are_reported(store: Store, command: Command) -> None:
    """Dropped columns are reported, since nobody is found by them."""
    load(store, "first", pii="drop")
    ended = command("--number", NUMBER, "--execute")
    assert ended.returncode == ExitCode.OK
    assert ended.stdout.splitlines() == [
        "rows erased              0  phone_results",
        'number is null in all rows, as pii = "drop" leaves it: nobody is found by it',
        "recorded in enrow_erasures, so that no later run brings it back",
    ]
    load(store, "first", refresh="drop_data", pii="keep")
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND)]


@pytest.mark.slow
@in_duckdb
def test_absent_person_is_suppressed(store: Store, command: Command) -> None:
    """A person who is not in the tables is recorded, and no later run loads them."""
    load(store, "second")
    ended = command("--linkedin-url", NOT_FOUND[0], "--execute")
    assert ended.returncode == ExitCode.OK
    assert ended.stdout.startswith("rows erased              0  phone_results\n")
    load(store, "first")
    assert [row[1] for row in store.people() if row[0] == "first"] == [URL, OTHER_URL]


@in_duckdb
def test_missing_secret_is_an_error(store: Store, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing secret is an error that names it."""
    load(store, "first")
    monkeypatch.delenv("SOURCES__ENROW__PII_SECRET")
    before = store.dump()
    ended = command("--number", NUMBER, "--execute")
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert ended.stderr.startswith("error: erasing a person needs pii_secret")
    assert "set it under [sources.enrow]" in ended.stderr
    assert store.dump() == before


@in_duckdb
@pytest.mark.parametrize(
    "secret,message",
    [pytest.param(None, "needs the pii_secret of then", marks=pytest.mark.slow), ("another-" * 2, "is not the one")],
)
def test_run_without_the_secret_requests_nothing(  # noqa: PLR0917 - fixtures
    store: Store,
    command: Command,
    api: SimulatedEnrow,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    secret: str | None,
    message: str,
) -> None:
    """A later run without the secret makes no request."""
    load(store, "first")
    command("--number", NUMBER, "--execute")
    monkeypatch.delenv("SOURCES__ENROW__PII_SECRET")
    if secret:
        monkeypatch.setenv("SOURCES__ENROW__PII_SECRET", secret)
        ended = command("--linkedin-url", URL, "--execute")
        assert (ended.returncode, message in ended.stderr, len(store.recorded())) == (ExitCode.USAGE, True, 1)
    requests = len(api.requests)
    assert run_command.main(["second", *store.arguments]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert len(api.requests) == requests
    # Where nothing is due the table is not even read.
    assert run_command.main(["first", *store.arguments]) == ExitCode.OK


def test_each_distinct_value_is_compared() -> None:
    """Each distinct value is compared, and null is nobody."""
    persons = {
        SubjectKind.LINKEDIN_URL: frozenset({hashed(profile_key(URL))}),
        SubjectKind.NUMBER: frozenset({hashed(NUMBER)}),
    }
    columns = {
        "params__linkedin_url": pa.array([URL, None, f"{URL.title()}/ ", OTHER_URL, None, ""], pa.string()),
        "number": pa.array([None, NUMBER, OTHER_NUMBER, None, None, "+1 415-555-0123"], pa.string()),
    }
    is_erased = Suppressions(persons=persons, privacy=Privacy(secret=SECRET)).is_erased
    assert is_erased is not None
    assert is_erased(columns).to_pylist() == [True, True, True, False, False, True]
    assert Suppressions(batches=frozenset({"first"})).is_erased is None
