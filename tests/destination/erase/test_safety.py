"""Erasure: values are data, never SQL, and the erased person is nowhere afterwards."""

import logging

import pytest

from enrow_source import Subject, SubjectKind
from enrow_source.errors import ConfigurationError
from enrow_source.runner.report import ExitCode
from enrow_source.testing import SimulatedEnrow
from tests.destination.erase.store import NAME, NUMBER, OTHER, SECRET, URL, Store, batch, in_duckdb, in_postgres, load
from tests.support.command import Command

pytest_plugins = ("tests.support.postgres",)

pytestmark = pytest.mark.usefixtures("settings")


AWKWARD = ["x' OR 1=1 --", '"; DROP TABLE phone_results; --', "%s", "_?%", "\\%", "a' ü😀İK"]


@pytest.mark.slow
@in_postgres
def test_values_are_data_never_sql_and_never_patterns(store: Store, api: SimulatedEnrow, command: Command) -> None:
    api.respond("third", batch("third", *((url, None) for url in AWKWARD), OTHER))
    load(store, "third")
    for done, url in enumerate(AWKWARD, start=1):
        ended = command("--linkedin-url", url, "--execute")
        assert ended.stdout.startswith("rows erased              1  phone_results\n"), (url, ended)
        assert len(store.people()) == len(AWKWARD) + 1 - done
    assert command("--linkedin-url", "' OR '' = '", "--execute").returncode == ExitCode.OK
    load(store, "third", refresh="drop_sources")
    assert store.people() == [("third", *OTHER)]


ODD_IDS = ["%s", "_?%", "$1", "(a)--", "ü😀İK"]


@pytest.mark.slow
@in_duckdb
def test_ids_are_data_never_sql(store: Store, api: SimulatedEnrow, command: Command) -> None:
    for batch_id in ODD_IDS:
        api.respond(batch_id, batch(batch_id, OTHER))
    load(store, "first", *ODD_IDS)
    for batch_id in ODD_IDS:
        assert command("--batch-id", batch_id, "--execute").stdout.startswith("rows erased              1  batches\n")
    load(store, "first", *ODD_IDS)
    assert store.sql("SELECT batch_id FROM batches") == [("first",)]
    assert [api.fetches(batch_id) for batch_id in ODD_IDS] == [1] * len(ODD_IDS)


def test_the_erased_is_nowhere_afterwards(
    store: Store, command: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")
    caplog.set_level(logging.DEBUG)
    load(store, "first", "second")
    assert NAME in store.dump().lower()
    printed = [
        command(option, value, *more)
        for option, value in (("--linkedin-url", URL), ("--number", NUMBER))
        for more in ((), ("--execute",))
    ]
    load(store, "first", "second", refresh="drop_sources")
    message = "".join(ended.stdout + ended.stderr for ended in printed) + caplog.text
    for text in (store.dump().lower(), message.lower()):
        assert NAME not in text
        assert NUMBER[1:] not in text
        assert SECRET not in text


@pytest.mark.parametrize("value", ["a b", "a,b", "a\nb"])
def test_two_batches_are_not_one(value: str) -> None:
    """Nothing is called this, so it would be recorded as erased and stay."""
    with pytest.raises(ConfigurationError, match="erase one batch at a time"):
        Subject(SubjectKind.BATCH, value)


def test_the_value_is_masked_in_messages() -> None:
    """The value is masked in the message of a destination."""
    subject = Subject(SubjectKind.LINKEDIN_URL, f" {URL}/")
    assert subject.masked(f"syntax error near '{URL.upper()}/' or '{URL}'") == "syntax error near '***' or '***'"
    assert NAME not in repr(subject)
