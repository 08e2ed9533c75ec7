"""A person leaves a real warehouse, and no later run brings them back."""

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from enrow_source.destination.erase import _RECORD, _TABLES
from enrow_source.runner.report import ExitCode
from enrow_source.tables.person import profile_key
from enrow_source.tables.schema import DEFERRED_BATCH_IDS, SUBMITTED_SEARCHES, TABLES
from enrow_source.testing import SimulatedEnrow
from tests.destination.erase.store import NAME, NOT_FOUND, NUMBER, OTHER, OTHER_NUMBER, URL, Store, batch, hashed, load
from tests.support.command import Command

pytest_plugins = ("tests.support.postgres",)

pytestmark = pytest.mark.usefixtures("settings")


def test_a_dry_run_counts_and_changes_nothing(store: Store, command: Command) -> None:
    load(store, "first", "second")
    load(store, "first", "second", refetch=True)  # by a merge, so by way of the staging dataset
    before = store.dump()
    ended = command("--linkedin-url", URL)
    assert (ended.returncode, ended.stderr) == (ExitCode.OK, "")
    assert ended.stdout.splitlines() == [
        "rows to erase            2  phone_results",
        "rows to erase            2  phone_results (staging)",
        "nothing was changed: --execute does it",
    ]
    assert store.dump() == before


@pytest.mark.parametrize(
    "arguments,subject,value",
    [
        (("--linkedin-url", f" {URL.upper()}// "), "linkedin_url", URL),
        (("--number", "+1 (415) 555-0123"), "number", NUMBER),
    ],
)
def test_a_person_leaves_every_batch(
    store: Store, command: Command, arguments: tuple[str, str], subject: str, value: str
) -> None:
    load(store, "first", "second")
    load(store, "first", "second", refetch=True)
    ended = command(*arguments, "--execute")
    assert (ended.returncode, ended.stderr) == (ExitCode.OK, "")
    assert ended.stdout.splitlines() == [
        "rows erased              2  phone_results",
        "rows erased              2  phone_results (staging)",
        "recorded in enrow_erasures, so that no later run brings it back",
    ]
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("second", *OTHER)]
    assert store.loaded() == [("first", 2), ("second", 1)]
    key = profile_key(value) if subject == "linkedin_url" else value
    assert store.recorded() == [(subject, hashed(key), None, 0, 0, 2, 0, 0, 0, 0)]
    assert command(*arguments).stdout.splitlines()[0] == "rows to erase            0  phone_results"


@pytest.mark.slow
def test_refresh_does_not_restore_a_person(store: Store, command: Command) -> None:
    """A refresh loads the batches again without the erased person."""
    load(store, "first", "second")
    command("--number", NUMBER, "--execute")
    load(store, "first", "second", refresh="drop_sources")
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("second", *OTHER)]
    assert store.loaded() == [("first", 2), ("second", 1)]
    assert store.sql("SELECT batch_id, results_received, found_received FROM batch_stats ORDER BY 1") == [
        ("first", 3, 2),
        ("second", 2, 2),
    ]
    assert [row[:2] for row in store.recorded()] == [("number", hashed(NUMBER))]


def test_new_batch_does_not_restore_a_person(
    store: Store, command: Command, api: SimulatedEnrow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another batch does not bring the person back and writes nothing of them to disk."""
    monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", "false")
    load(store, "first", container="lost")
    command("--linkedin-url", URL, "--execute")
    command("--number", NUMBER, "--execute")
    api.respond("third", batch("third", (f"{URL}/", None), OTHER, ("https://other.example/in/profile", NUMBER)))
    load(store, "third", container="fresh")
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("third", *OTHER)]
    assert store.loaded() == [("first", 2), ("third", 1)]
    written = [file for file in (tmp_path / "fresh").rglob("*") if file.is_file()]
    texts = {file: readable(file) for file in written}
    assert any(OTHER_NUMBER in text for text in texts.values())
    assert [file for file, text in texts.items() if NAME in text or NUMBER in text] == []


def readable(file: Path) -> str:
    if file.suffix == ".parquet":
        return repr(pq.read_table(file).to_pylist())
    raw = file.read_bytes()
    return (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("latin-1")


def test_every_table_of_the_source_is_erased_from() -> None:
    assert set(_TABLES) == {table.name for table in (*TABLES, DEFERRED_BATCH_IDS, SUBMITTED_SEARCHES)}
    assert _RECORD.names >= {f"{table}_rows" for table in _TABLES}
