"""Erasure: a person or a batch leaves a real warehouse, and no later run brings it back."""

from __future__ import annotations

import gzip
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dlt
import duckdb
import psycopg2  # type: ignore[import-untyped]  # it has no types
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrow_source import ConfigurationError, Erasure, Subject, SubjectKind, enrow_source, erase
from enrow_source.cli import run as run_command
from enrow_source.cli.erase import ExitCode, main
from enrow_source.destination.erase import _RECORD, _TABLES
from enrow_source.destination.suppressions import ERASURES, Suppressions
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.tables.privacy import Privacy
from enrow_source.tables.schema import DEFERRED_BATCH_IDS, TABLES
from enrow_source.testing import SimulatedEnrow
from tests.support import REPOSITORY

if TYPE_CHECKING:
    from tests.support.postgres import Postgres  # at run time it is a plugin, which pytest imports itself

pytest_plugins = ("tests.support.postgres",)

SECRET = "recognisable-secret-91ab"
NAME = "recognisabella-nobody"
URL = f"https://www.linkedin.example/in/{NAME}"
NUMBER = "+14155550123"
OTHER_URL = "https://www.linkedin.example/in/somebody-else"
OTHER_NUMBER = "+14155550199"

Told = tuple[str, str | None]
PERSON: Told = (URL, NUMBER)
OTHER: Told = (OTHER_URL, OTHER_NUMBER)
NOT_FOUND: Told = ("https://www.linkedin.example/in/not-found", None)


def batch(batch_id: str, *people: Told) -> dict[str, Any]:
    found = sum(number is not None for _, number in people)
    return {
        "general": {"id": batch_id, "status": "completed"},
        "stats": {"requested": len(people), "found": found, "credits_cost": 40 * found, "credits_to_refund": 0},
        "results": [
            {
                "index": index,
                "qualification": "found" if number else "not_found",
                "number": number,
                "country": "US" if number else None,
                "params": {"linkedin_url": url},
            }
            for index, (url, number) in enumerate(people)
        ],
    }


@dataclass(frozen=True)
class Store:
    """A destination and a dataset of its own in it."""

    destination: str
    dataset: str
    query: Callable[[str], list[tuple[Any, ...]]]
    folder: Path

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("--destination", self.destination, "--dataset", self.dataset)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.query(re.sub(r"\b(FROM|UPDATE|TABLE) (\w+)", rf"\1 {self.dataset}.\2", statement))

    def people(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT batch_id, params__linkedin_url, number FROM phone_results ORDER BY batch_id, index")

    def loaded(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT batch_id, results_loaded FROM phone_results_ledger ORDER BY 1")

    def recorded(self) -> list[tuple[Any, ...]]:
        counts = ", ".join(f"{table}_rows" for table in _TABLES)
        return self.sql(f"SELECT subject, subject_hash, batch_id, {counts} FROM {ERASURES} ORDER BY erased_at")

    def dump(self) -> str:
        """Return everything in every table of the dataset and of its staging dataset."""
        tables = self.query(
            "SELECT table_schema, table_name FROM information_schema.tables"
            f" WHERE table_schema LIKE '{self.dataset}%' ORDER BY 1, 2"
        )
        return "\n".join(
            f"{schema}.{table} {sorted(map(repr, self.query(f'SELECT * FROM {schema}.{table}')))}"
            for schema, table in tables
        )

    def pipeline(self, container: str = "first") -> dlt.Pipeline:
        return build_pipeline(self.destination, self.dataset, pipelines_dir=str(self.folder / container))


_number = count()


@pytest.fixture(params=["duckdb", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    if request.param == "duckdb":
        # Held open: dlt connects to it a dozen times in a run, and each is quicker then.
        with duckdb.connect(str(tmp_path / "warehouse.duckdb")):
            yield duckdb_store(tmp_path)
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres.url)
    yield postgres_store(postgres, tmp_path)


# One destination is enough where it makes no difference.
in_duckdb = pytest.mark.parametrize("store", ["duckdb"], indirect=True)
in_postgres = pytest.mark.parametrize("store", ["postgres"], indirect=True)


def duckdb_store(folder: Path) -> Store:
    def query(statement: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
            return connection.execute(statement).fetchall()

    return Store("duckdb", "enrow_data", query, folder)


def postgres_store(postgres: Postgres, folder: Path) -> Store:
    def query(statement: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in postgres.query(statement)]

    return Store("postgres", f"erasure_{next(_number)}", query, folder)


@pytest.fixture(autouse=True)
def settings(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
    monkeypatch.setenv("SOURCES__ENROW__PII_SECRET", SECRET)
    api.respond("first", batch("first", PERSON, OTHER, NOT_FOUND))
    api.respond("second", batch("second", OTHER, (f"  {URL.upper()}/", NUMBER)))


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(store: Store, capsys: pytest.CaptureFixture[str]) -> Command:
    def run_command(*arguments: str) -> Ended:
        try:
            code = main([*store.arguments, *arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return run_command


def load(store: Store, *batch_ids: str, container: str = "first", refresh: Any = None, **options: Any) -> None:
    store.pipeline(container).run(enrow_source(batch_ids, **options), refresh=refresh)


def hashed(value: str) -> str:
    return Privacy(secret=SECRET).keyed_hash(value)


def test_a_dry_run_counts_and_changes_nothing(store: Store, command: Command) -> None:
    load(store, "first", "second")
    before = store.dump()
    ended = command("--linkedin-url", URL)
    assert (ended.code, ended.err) == (ExitCode.OK, "")
    assert ended.out.splitlines() == [
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
    ended = command(*arguments, "--execute")
    assert (ended.code, ended.err) == (ExitCode.OK, "")
    assert ended.out.splitlines() == [
        "rows erased              2  phone_results",
        "rows erased              2  phone_results (staging)",
        "recorded in enrow_erasures, so that no later run brings it back",
    ]
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("second", *OTHER)]
    assert store.loaded() == [("first", 2), ("second", 1)]
    assert store.recorded() == [(subject, hashed(value), None, 0, 0, 2, 0, 0, 0)]
    assert command(*arguments).out.splitlines()[0] == "rows to erase            0  phone_results"


def test_a_refresh_brings_the_batches_back_without_the_person(store: Store, command: Command) -> None:
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


def test_another_batch_does_not_bring_the_person_and_writes_nothing_of_them(
    store: Store, command: Command, api: SimulatedEnrow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_a_batch_leaves_every_table_and_is_not_fetched_again(
    store: Store, command: Command, api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCES__ENROW__PII_SECRET")  # an id is no personal data
    load(store, "second")  # unknown to the API at first
    api.respond("third", {"general": {"id": "third", "status": "completed"}, "results": {}})
    load(store, "first", "third")
    api.respond("third", batch("third", OTHER))
    load(store, "third")
    ended = command("--batch-id", "third", "--execute")
    assert ended.code == ExitCode.OK
    assert ended.out.splitlines()[:5] == [
        "rows erased              1  batches",
        "rows erased              1  batch_stats",
        "rows erased              1  phone_results",
        "rows erased              1  phone_results_ledger",
        "rows erased              1  batch_errors",
    ]
    assert store.recorded() == [("batch", None, "third", 1, 1, 1, 1, 1, 0)]
    fetches = api.looks("third")
    for container in ("first", "fresh"):
        load(store, "first", "second", "third", container=container)
    load(store, "third", container="fresh", refresh="drop_sources")
    load(store, "third", "second", container="fresh", max_batches=1)
    assert api.looks("third") == fetches
    assert [row for row in store.people() if row[0] == "third"] == []
    for table in TABLES:
        assert store.sql(f"SELECT batch_id FROM {table.name} WHERE batch_id = 'third'") == []
    # It does not take the place of another one either.
    assert store.sql("SELECT batch_id FROM batches") == [("second",)]


@in_duckdb
def test_an_erased_batch_is_not_left_to_later_runs(
    store: Store, command: Command, api: SimulatedEnrow, tmp_path: Path
) -> None:
    (tmp_path / "left.txt").write_text("first\nsecond")
    files = ["--batch-ids-file", str(tmp_path / "left.txt")]
    run_command.main([*files, "--max-batches", "1", *store.arguments])
    assert store.sql("SELECT batch_id FROM deferred_batch_ids") == [("second",)]
    assert "rows erased              1  deferred_batch_ids" in command("--batch-id", "second", "--execute").out
    assert store.sql("SELECT batch_id FROM deferred_batch_ids") == []
    run_command.main([*files, *store.arguments])
    assert api.looks("second") == 0


@in_duckdb
def test_an_erased_batch_without_its_id_is_not_fetched_either(
    store: Store, command: Command, api: SimulatedEnrow
) -> None:
    load(store, api.add_ongoing("running", None), "first")
    command("--batch-id", " running ", "--execute")
    load(store, "second")
    assert api.looks("running") == 1


@in_postgres
def test_hashed_rows_are_found_with_the_same_secret(store: Store, command: Command) -> None:
    load(store, "first", pii="hash")
    ended = command("--linkedin-url", f"{URL}/", "--execute")
    assert ended.out.startswith("rows erased              1  phone_results\n")
    load(store, "second", "first", pii="hash", refresh="drop_sources")
    assert store.people() == [
        ("first", *map(hashed, OTHER)),  # type: ignore[arg-type]  # this one has a number
        ("first", hashed(NOT_FOUND[0]), None),
        ("second", *map(hashed, OTHER)),  # type: ignore[arg-type]
    ]


def test_hashed_spellings_that_may_have_been_submitted_are_tried(api: SimulatedEnrow, tmp_path: Path) -> None:
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


@in_postgres
def test_dropped_columns_are_told_since_nobody_is_found_by_them(store: Store, command: Command) -> None:
    load(store, "first", pii="drop")
    ended = command("--number", NUMBER, "--execute")
    assert ended.code == ExitCode.OK
    assert ended.out.splitlines() == [
        "rows erased              0  phone_results",
        'number is null in all rows, as pii = "drop" leaves it: nobody is found by it',
        "recorded in enrow_erasures, so that no later run brings it back",
    ]
    load(store, "first", refresh="drop_data", pii="keep")
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND)]


@in_duckdb
def test_a_person_who_is_not_there_is_recorded_and_not_brought_later(store: Store, command: Command) -> None:
    load(store, "second")
    ended = command("--linkedin-url", NOT_FOUND[0], "--execute")
    assert ended.code == ExitCode.OK
    assert ended.out.startswith("rows erased              0  phone_results\n")
    load(store, "first")
    assert [row[1] for row in store.people() if row[0] == "first"] == [URL, OTHER_URL]


@in_duckdb
def test_a_missing_secret_is_told(store: Store, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    load(store, "first")
    monkeypatch.delenv("SOURCES__ENROW__PII_SECRET")
    before = store.dump()
    for more in ((), ("--execute",)):
        ended = command("--number", NUMBER, *more)
        assert (ended.code, ended.out) == (ExitCode.USAGE, "")
        assert ended.err.startswith("error: erasing a person needs pii_secret")
        assert "set it under [sources.enrow]" in ended.err
    assert store.dump() == before


@in_duckdb
@pytest.mark.parametrize("secret,message", [(None, "needs the pii_secret of then"), ("another-" * 2, "is not the one")])
def test_a_later_run_without_the_secret_requests_nothing(  # noqa: PLR0917 - fixtures
    store: Store,
    command: Command,
    api: SimulatedEnrow,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    secret: str | None,
    message: str,
) -> None:
    load(store, "first")
    command("--number", NUMBER, "--execute")
    monkeypatch.delenv("SOURCES__ENROW__PII_SECRET")
    if secret:
        monkeypatch.setenv("SOURCES__ENROW__PII_SECRET", secret)
        ended = command("--linkedin-url", URL, "--execute")
        assert (ended.code, message in ended.err, len(store.recorded())) == (ExitCode.USAGE, True, 1)
    requests = len(api.requests)
    assert run_command.main(["second", *store.arguments]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert len(api.requests) == requests
    # Where nothing is due the table is not even read.
    assert run_command.main(["first", *store.arguments]) == ExitCode.OK


AWKWARD = ["x' OR 1=1 --", '"; DROP TABLE phone_results; --', "%s", "_?%", "\\%", "a' ü😀İK"]


@in_postgres
def test_values_are_data_never_sql_and_never_patterns(store: Store, api: SimulatedEnrow, command: Command) -> None:
    api.respond("third", batch("third", *((url, None) for url in AWKWARD), OTHER))
    load(store, "third")
    for done, url in enumerate(AWKWARD, start=1):
        ended = command("--linkedin-url", url, "--execute")
        assert ended.out.startswith("rows erased              1  phone_results\n"), (url, ended)
        assert len(store.people()) == len(AWKWARD) + 1 - done
    assert command("--linkedin-url", "' OR '' = '", "--execute").code == ExitCode.OK
    load(store, "third", refresh="drop_sources")
    assert store.people() == [("third", *OTHER)]


@in_duckdb
def test_ids_are_data_never_sql(store: Store, api: SimulatedEnrow, command: Command) -> None:
    for batch_id in AWKWARD:
        api.respond(batch_id, batch(batch_id, OTHER))
    load(store, "first", *AWKWARD)
    for batch_id in AWKWARD:
        assert command("--batch-id", batch_id, "--execute").out.startswith("rows erased              1  batches\n")
    load(store, "first", *AWKWARD)
    assert store.sql("SELECT batch_id FROM batches") == [("first",)]
    assert [api.looks(batch_id) for batch_id in AWKWARD] == [1] * len(AWKWARD)


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
    message = "".join(ended.out + ended.err for ended in printed) + caplog.text
    for text in (store.dump().lower(), message.lower()):
        assert NAME not in text
        assert NUMBER[1:] not in text
        assert SECRET not in text


def test_the_value_is_masked_in_the_message_of_a_destination() -> None:
    subject = Subject(SubjectKind.LINKEDIN_URL, f" {URL}/")
    assert subject.masked(f"syntax error near '{URL.upper()}/' or '{URL}'") == "syntax error near '***' or '***'"
    assert NAME not in repr(subject)


@pytest.mark.parametrize(
    "arguments,message",
    [
        ((), "one of the arguments --linkedin-url --number --batch-id is required"),
        (("--number", NUMBER, "--batch-id", "first"), "not allowed with argument"),
        (("--number", "4155550123"), "--number: the number is not E.164"),
        (("--number", "+1-nobody-555"), "--number: the number is not E.164"),
        (("--linkedin-url", " / "), "--linkedin-url: the linkedin_url is empty"),
        (("--batch-id", "a\0b"), "--batch-id: the batch is empty, or has characters that no table can hold"),
        (("--batch-id", "a\ud800"), "--batch-id: the batch is empty, or has characters that no table can hold"),
        (("--batch-id", "x", "--destination", "nonsense"), "dlt has no destination 'nonsense'"),
        (("--batch-id", "x", "--destination", "filesystem"), "cannot be deleted with SQL from filesystem"),
        (("--batch-id", "x", "--dataset", "elsewhere"), "has no table of the source: check the names of both"),
    ],
)
def test_what_is_wrong_in_the_call_is_told_and_gives_exit_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "bucket"))
    try:
        code = main([*arguments, "--execute"])
    except SystemExit as error:
        code = int(error.code or 0)
    printed = capsys.readouterr()
    assert (code, printed.out) == (ExitCode.USAGE, "")
    assert message in printed.err
    assert "4155550123" not in printed.err
    assert "Traceback" not in printed.err


def test_a_destination_that_cannot_be_reached_gives_exit_code_1_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", f"postgresql://x:y@localhost/z?host={tmp_path}")
    assert main(["--destination", "postgres", "--number", NUMBER, "--execute"]) == ExitCode.FAILED
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert (printed.out, printed.err.count("\n")) == ("", 1)


def test_what_a_killed_run_has_left_is_to_be_loaded_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = duckdb_store(tmp_path)
    pipeline = build_pipeline()
    pipeline.run(enrow_source(["second"]))
    pipeline.extract(enrow_source(["first"]))
    assert main(["--number", NUMBER]) == ExitCode.OK
    assert main(["--number", NUMBER, "--execute"]) == ExitCode.USAGE
    assert "finish them first, with enrow run --pending" in capsys.readouterr().err
    assert run_command.main(["--pending"]) == ExitCode.OK
    assert main(["--number", NUMBER, "--execute"]) == ExitCode.OK
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("second", *OTHER)]
    pipeline.extract(enrow_source(["third"]))
    with pytest.raises(ConfigurationError, match="packages of a killed run"):
        erase(pipeline, Subject(SubjectKind.NUMBER, NUMBER), execute=True)


def test_the_value_can_come_from_standard_input(tmp_path: Path) -> None:
    store = duckdb_store(tmp_path)
    load(store, "first")
    ended = subprocess.run(
        [sys.executable, "-m", "enrow_source", "erase", "--linkedin-url", "-", "--execute"],
        input=f"{URL}\n",
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (ExitCode.OK, "")
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND)]


def environment(folder: Path) -> dict[str, str]:
    kept = ("PATH", "SOURCES__", "DESTINATION__", "RUNTIME__", "ENROW_")
    return {name: value for name, value in os.environ.items() if name.startswith(kept)} | {
        "DLT_DATA_DIR": str(folder / "dlt")
    }


KILLED = """
import os, signal, sys
from enrow_source.destination import erase as erasure
from enrow_source.cli.erase import main

erasure._delete = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main(sys.argv[1:])
"""


def test_killed_between_the_record_and_the_deletion_nobody_comes_back(tmp_path: Path) -> None:
    store = duckdb_store(tmp_path)
    load(store, "first")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "--number", NUMBER, "--execute"],
        cwd=tmp_path,
        env=environment(tmp_path),
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    check_what_a_killed_erasure_left(store)


def test_killed_while_it_waits_to_delete_nobody_comes_back(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres.url)
    store = postgres_store(postgres, tmp_path)
    load(store, "first")
    with holding(postgres, f"LOCK TABLE {store.dataset}.phone_results IN SHARE MODE"):  # no writer gets past it
        erasing = subprocess.Popen(
            [sys.executable, "-m", "enrow_source", "erase", *store.arguments, "--number", NUMBER, "--execute"],
            cwd=tmp_path,
            env=environment(tmp_path),
        )
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE FROM%'"
        while not postgres.query(waiting):
            assert erasing.poll() is None
            time.sleep(0.02)
        erasing.kill()
        erasing.wait()
        for row in postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DELETE %'"):
            assert row
    check_what_a_killed_erasure_left(store)


class holding:  # noqa: N801 - reads as a verb
    """Holds a lock in a transaction of its own while the block runs."""

    def __init__(self, postgres: Postgres, statement: str) -> None:
        self._url, self._statement = postgres.url, statement

    def __enter__(self) -> None:
        self._connection = psycopg2.connect(self._url)
        self._connection.cursor().execute(self._statement)

    def __exit__(self, *_: object) -> None:
        self._connection.rollback()
        self._connection.close()


def check_what_a_killed_erasure_left(store: Store) -> None:
    """The rows are still there, the record says that it was not finished, and no run brings the person again."""
    assert store.people() == [("first", *PERSON), ("first", *OTHER), ("first", *NOT_FOUND)]
    assert store.loaded() == [("first", 3)]
    assert store.recorded() == [("number", hashed(NUMBER), None, None, None, None, None, None, None)]
    load(store, "second", container="fresh")
    assert [row for row in store.people() if row[0] == "second"] == [("second", *OTHER)]
    assert store.loaded() == [("first", 3), ("second", 1)]
    erased = erase(store.pipeline("erasing"), Subject(SubjectKind.NUMBER, NUMBER), execute=True)
    assert erased == Erasure(executed=True, rows=erased.rows)
    assert erased.rows["phone_results"] == 1
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("second", *OTHER)]
    assert store.loaded() == [("first", 2), ("second", 1)]
    assert [row[5] for row in store.recorded()] == [None, 1]


def test_each_distinct_value_is_compared_and_null_is_nobody() -> None:
    persons = {
        SubjectKind.LINKEDIN_URL: frozenset({hashed(URL)}),
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


def test_every_table_of_the_source_is_erased_from() -> None:
    assert set(_TABLES) == {table.name for table in (*TABLES, DEFERRED_BATCH_IDS)}
    assert {column["name"] for column in _RECORD} >= {f"{table}_rows" for table in _TABLES}


def test_the_promises_of_security_md_name_tests_that_exist() -> None:
    text = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/\w+\.py)::(test_\w+)`", text)
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not re.search(rf"^(?:async )?def {test}\(", (REPOSITORY / file).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert missing == []
    promises = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert promises
    assert [line for line in promises if "::test_" not in line] == []


def test_every_dependency_is_locked_with_a_hash() -> None:
    for file in (REPOSITORY / "requirements").glob("*.txt"):
        text = re.sub(r"\\\n\s*", " ", file.read_text(encoding="utf-8"))
        locked = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        assert locked
        assert [line for line in locked if not re.search(r"==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == [], file.name
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in makefile.splitlines() if re.search(r"\binstall\b.* -r ", line)]
    assert installs
    assert [line for line in installs if "--require-hashes" not in line] == []


@pytest.fixture
def api() -> Iterator[SimulatedEnrow]:
    with SimulatedEnrow() as running:
        yield running
