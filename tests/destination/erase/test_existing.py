"""Rows that were loaded before `pii` was set are hidden as those of later runs are."""

from __future__ import annotations

import re
from typing import Any

import pytest

from enrow_source.runner.report import ExitCode
from enrow_source.testing import Response, SimulatedEnrow
from tests.destination.erase.store import NAME, NUMBER, OTHER, PERSON, Store, batch, load
from tests.support.command import Command

pytest_plugins = ("tests.support.postgres",)
pytestmark = pytest.mark.usefixtures("settings")


def serve(api: SimulatedEnrow) -> None:
    body: dict[str, Any] = batch("third", PERSON, OTHER)
    body["general"] |= {"custom": {"for": NAME}, "owner": NAME}
    body["stats"]["note"] = f"of {NAME}"
    body["results"][0] |= {"custom": NAME, "referrer": NAME, "": NAME}
    api.respond("third", body)
    api.respond("refused", Response.message(400, f"no {NAME}"))


@pytest.mark.parametrize("pii", ["hash", pytest.param("drop", marks=pytest.mark.slow)])
def test_nothing_stays_in_clear(
    store: Store, command: Command, api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, pii: str
) -> None:
    serve(api)
    load(store, "third", "refused")
    monkeypatch.setenv("SOURCES__ENROW__PII", pii)
    before = store.dump()
    counted = command("--existing")
    assert (counted.returncode, counted.stderr) == (ExitCode.OK, "")
    assert re.search(r"values in clear +\d+  phone_results\.number", counted.stdout)
    assert store.dump() == before
    assert command("--existing", "--execute").returncode == ExitCode.OK
    for text in (NAME, NUMBER):
        assert text not in store.dump()
    assert command("--existing").stdout.splitlines() == [
        "values in clear          0  in all columns",
        "nothing was changed: --execute does it",
    ]
    # They are what a run writes: the same values, so that joins hold.
    rows = sorted(store.people(), key=str)
    custom = store.sql("SELECT custom FROM batches")
    load(store, "third", "refused", container="fresh", refresh="drop_data")
    assert sorted(store.people(), key=str) == rows
    assert store.sql("SELECT custom FROM batches") == custom


def test_keep_hides_nothing(store: Store, command: Command) -> None:
    load(store, "first")
    ended = command("--existing", "--execute")
    assert ended.returncode == ExitCode.USAGE
    assert 'pii is "keep": set it to "hash" or "drop"' in ended.stderr
