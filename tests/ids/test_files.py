"""Batch ids from where they lie: read once, none lost, whatever becomes of the run that has read them."""

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import psycopg2.extras  # type: ignore[import-untyped] # it has no types
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlt.common.storages.fsspec_filesystem import FileItemDict

from enrow_source import ConfigurationError, batch_ids_from_files, batch_ids_from_query, enrow_source
from enrow_source.ids.input import read_batch_ids
from enrow_source.testing import Response, SimulatedEnrow
from tests.conftest import NewSource
from tests.support.postgres import Postgres
from tests.support.warehouse import Warehouse

pytest_plugins = ("tests.support.postgres",)

FINISHED = {"event": "bulk_phone_search_finished", "id": "a", "credits": {"cost": 40}}
OTHER = {"event": "bulk_email_search_finished", "id": "not-of-phones"}


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def parquet(path: Path, **columns: list[Any]) -> None:
    pq.write_table(pa.table(columns), path)


def read(*locations: str) -> tuple[list[str], list[str]]:
    """Return the ids, and what could not be read."""
    reading = read_batch_ids([batch_ids_from_files(location) for location in locations]).read()
    return list(reading.ids), list(reading.invalid)


@pytest.mark.parametrize(
    "name,content",
    [
        ("ids.txt", b"a\nb\n"),
        ("ids.txt", b"\xef\xbb\xbfa\r\n\r\n  b  \r\na\r\n"),
        ("ids", b"a\nb"),
        ("ids.csv", b"a\nb\n"),
        ("ids.csv", b"batch_id\na\nb\n"),
        ("ids.csv", b'\xef\xbb\xbfsubmitted,"Batch_ID"\r\n2026-01-01,a\r\n"1,2","b"\r\n'),
        ("ids.csv", b"id;when\na;1\nb;2\n"),
        ("ids.tsv", b"when\tid\n1\ta\n2\tb\n"),
        ("ids.jsonl", lines("a", "b")),
        ("ids.jsonl", lines({"batch_id": "a", "id": "17"}, {"id": "b"})),
        ("ids.json", b'[{"id": "a"}, {"id": "b"}]'),
        ("ids.json", b'[\n  "a",\n  "b"\n]\n'),
        ("events.jsonl", lines(OTHER, FINISHED, {"event": "made_up"}, FINISHED | {"id": "b"})),
        ("events", lines(FINISHED, OTHER, FINISHED | {"id": "b"})),
        ("ids.txt.gz", gzip.compress(b"a\nb\n", mtime=0)),
        ("events.jsonl.gz", gzip.compress(lines(FINISHED, OTHER, {"id": "b"}), mtime=0)),
    ],
)
def test_a_file_of_ids(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read(str(tmp_path / name)) == (["a", "b"], [])


def test_a_parquet_file(tmp_path: Path) -> None:
    parquet(tmp_path / "ids.parquet", when=[1, 2], batch_id=["a", "b"])
    assert read("ids.parquet") == (["a", "b"], [])


def test_a_webhook_event_is_a_file_of_its_own(tmp_path: Path) -> None:
    for number, event in enumerate([FINISHED, OTHER, FINISHED | {"id": "b"}]):
        (tmp_path / f"{number}.json").write_text(json.dumps(event, indent=2), encoding="utf-8")
    ids, invalid = read(f"{tmp_path}/*.json")
    assert (sorted(ids), invalid) == (["a", "b"], [])


def test_several_places_at_once(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "one.txt").write_text("a")
    (tmp_path / "deep" / "er" / "two.csv").write_text("b")
    (tmp_path / "deep" / "three [1].txt").write_text("c")
    assert read("one.txt", "deep", "deep/three [1].txt", f"file://{tmp_path}/o*.txt") == (["a", "c", "b"], [])


@pytest.mark.parametrize(
    "name,content,ids,invalid",
    [
        ("x.jsonl", lines("a") + b'{"id": "no\n' + lines("b"), ["a", "b"], ["x.jsonl:2 is no JSON"]),
        ("x.jsonl", b"\x00\xff{\n" + lines("b"), ["b"], ["x.jsonl:1 is no JSON"]),
        ("x.json", b'{"event": "bulk_phone_search_finished", "id":', [], ["x.json:1 is no JSON"]),
        ("x.json", b'{"event": "bulk_phone_search_finished"}', [], ["x.json:1 has neither 'id' nor 'batch_id'"]),
        ("x.jsonl", lines({"id": 17}, "a"), ["a"], ["x.jsonl:1 is 17, not a string"]),
        ("x.csv", b"when,number\n1,2\n", [], ["x.csv has no column batch_id or id, but when, number"]),
        ("x.csv", b"id,when\n,1\na,2\n", ["a"], ["x.csv:2 is '': a batch id cannot be empty"]),
        ("x.csv", b"when,id\n1\n2,a\n", ["a"], ["x.csv:2 is None, not a string"]),
        ("x.txt", b"a\n\xff\xfe\nb\n", ["a", "b"], ["x.txt:2 is '\\udcff\\udcfe\\n': it has a character"]),
        ("x.txt.gz", gzip.compress(b"a\n" * 9, mtime=0)[:-9], [], ["x.txt.gz is damaged: EOFError"]),
        ("x.txt.gz", b"no gzip", [], ["x.txt.gz is damaged: BadGzipFile"]),
        ("x.parquet", b"PAR1 and no more", [], ["x.parquet is damaged: ArrowInvalid"]),
        ("x.txt", b"", [], []),
        ("x.csv", b"", [], []),
        ("x.json", b"", [], []),
    ],
)
def test_what_is_damaged_is_told_and_the_rest_is_read(
    tmp_path: Path, name: str, content: bytes, ids: list[str], invalid: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "fine.txt").write_text("fine")
    found, message = read(name, "fine.txt")
    assert found == [*ids, "fine"]
    assert len(message) == len(invalid)
    for one, expected in zip(message, invalid, strict=True):
        assert expected in one


def test_a_file_that_is_named_must_be_there(new_source: NewSource, warehouse: Warehouse, api: SimulatedEnrow) -> None:
    with pytest.raises(Exception, match=r"there is no file .*missing\.txt"):
        warehouse.run(new_source(batch_ids_file=["missing.txt"]))
    warehouse.run(new_source(batch_ids_file=["missing/*.txt"]))
    assert api.requests == []


def written(path: Path, *ids: str, age_s: float = 0) -> None:
    path.write_text("\n".join(ids))
    os.utime(path, (time.time() - age_s,) * 2)


class Opened:
    """Counts the files that are opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        opened = FileItemDict.open

        def counted(file: FileItemDict, *arguments: Any, **options: Any) -> Any:
            self.names.append(file["file_name"])
            return opened(file, *arguments, **options)

        monkeypatch.setattr(FileItemDict, "open", counted)

    def taken(self) -> list[str]:
        names, self.names = sorted(self.names), []
        return names


def files(lag_s: float = 0.0) -> Any:
    return batch_ids_from_files("ids/*.txt", lag_s=lag_s)


def test_only_new_files_are_read(
    tmp_path: Path, api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ids").mkdir()
    opened = Opened(monkeypatch)
    for name in "abcd":
        api.add_completed(name, 1)
    for number, name in enumerate("ab"):
        written(tmp_path / "ids" / f"{name}.txt", name)
        time.sleep(0.02 * (1 - number))
    warehouse.run(new_source(files()))
    assert opened.taken() == ["a.txt", "b.txt"]
    warehouse.run(new_source(files()), container="another")
    assert opened.taken() == ["b.txt"]  # what has the newest time may have been joined by another of that time
    written(tmp_path / "ids" / "c.txt", "c")
    written(tmp_path / "moved.txt", "d", age_s=9_999)
    (tmp_path / "moved.txt").rename(tmp_path / "ids" / "d.txt")
    warehouse.run(new_source(files()))
    assert opened.taken() == ["b.txt", "c.txt", "d.txt"]
    assert [api.looks(name) for name in "abcd"] == [1, 1, 1, 1]
    warehouse.run(new_source(files(lag_s=3600)))
    assert opened.taken() == ["a.txt", "b.txt", "c.txt", "d.txt"]


def test_what_the_cursor_has_passed_is_read_again_where_it_is_needed(
    tmp_path: Path, api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    (tmp_path / "ids").mkdir()
    for name in "abcdef":
        written(tmp_path / "ids" / f"{name}.txt", api.add_completed(name, 1))
        time.sleep(0.02)
    warehouse.run(new_source(files(), shard="1/2").with_resources("batches"))
    first = len(warehouse.rows("batches"))
    assert 0 < first < 6
    warehouse.run(new_source(files()).with_resources("batches"))
    assert len(warehouse.rows("batches")) == 6
    warehouse.run(new_source(files()))
    assert len(warehouse.rows("phone_results")) == 6
    warehouse.run(new_source(files()).with_resources("batches"))
    before = len(api.requests)
    warehouse.run(new_source(files()), refresh="drop_sources")
    assert len(api.requests) - before == len(warehouse.rows("phone_results")) == 6
    warehouse.run(new_source(files()), write_disposition="replace")
    assert len(api.requests) - before == 12
    warehouse.run(new_source(files()))
    assert len(api.requests) - before == 12


def test_another_dataset_is_loaded_as_a_whole(
    tmp_path: Path, api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    (tmp_path / "ids").mkdir()
    for name in "ab":
        written(tmp_path / "ids" / f"{name}.txt", api.add_completed(name, 1))
        time.sleep(0.02)
    warehouse.run(new_source(files()))
    other = dlt.pipeline("other", destination=dlt.destinations.duckdb(str(warehouse.file)), dataset_name="other_data")
    other.run([{"x": 1}], table_name="x")
    moved = warehouse.pipeline()
    moved.run(new_source(files()), dataset_name="other_data")
    assert warehouse.sql("SELECT count(*) FROM other_data.batches") == [(2,)]


def test_ids_that_a_run_did_not_get_to_are_not_lost(
    tmp_path: Path, api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    (tmp_path / "ids").mkdir()
    ids = [api.add_completed(f"b{number}", 1) for number in range(7)]
    for batch_id in ids:
        written(tmp_path / "ids" / f"{batch_id}.txt", batch_id)
        time.sleep(0.01)
    for number, container in enumerate(["first", "first", "another"]):
        warehouse.run(new_source(files(), max_batches=3), container=container)
        assert len(warehouse.rows("batches")) == min(7, 3 * (number + 1))
    assert [api.looks(batch_id) for batch_id in ids] == [1] * 7
    warehouse.run(new_source(files(), max_batches=3))
    assert len(api.requests) == 7
    assert len(warehouse.rows("deferred_batch_ids")) == 4


@pytest.mark.parametrize("container", ["first", "another"])
def test_an_id_that_could_not_be_read_is_tried_again(
    tmp_path: Path, api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, container: str
) -> None:
    (tmp_path / "ids").mkdir()
    api.respond("down", Response(status=404))
    written(tmp_path / "ids" / "one.txt", "down", api.add_completed("done", 1))
    warehouse.run(new_source(files()).with_resources("phone_results"))
    time.sleep(0.02)
    written(tmp_path / "ids" / "two.txt", api.add_completed("two", 1))
    warehouse.run(new_source(files()).with_resources("phone_results"), container)
    api.add_completed("down", 1)
    warehouse.run(new_source(files()).with_resources("phone_results"), container)
    warehouse.run(new_source(files()).with_resources("phone_results"), container)
    assert [api.looks(batch_id) for batch_id in ("done", "two", "down")] == [1, 1, 3]
    assert {row["batch_id"] for row in warehouse.rows("phone_results")} == {"done", "two", "down"}


def test_the_resource_of_a_user_loses_no_ids_either(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    rows = [{"id": api.add_completed(f"b{number}", 1), "at": number} for number in range(4)]

    @dlt.resource(name="submissions")
    def submissions(at: Any = dlt.sources.incremental("at", primary_key=())) -> Iterator[Any]:  # noqa: ARG001, B008
        yield rows

    for _ in range(3):
        warehouse.run(new_source(submissions(), max_batches=2))
    assert [api.looks(str(row["id"])) for row in rows] == [1] * 4


def test_no_state_grows_with_the_ids_that_are_read(
    tmp_path: Path, api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    (tmp_path / "ids").mkdir()
    sizes = []
    for count in (1, 200):
        for number in range(count):
            written(tmp_path / "ids" / f"{number}.txt", api.respond(f"b{number}", Response.unreadable()))
        warehouse.run(new_source(files(), max_consecutive_failures=3))
        sizes.append(len(json.dumps(warehouse.pipeline().state, default=str)))
    assert sizes[1] - sizes[0] < 100


@pytest.fixture
def submissions(postgres: Postgres) -> Iterator[Postgres]:
    psycopg2.extras.register_uuid()
    postgres.query(
        "CREATE TABLE submissions (number serial, id uuid, day date, at timestamptz, plain timestamp, word text)"
    )
    yield postgres
    postgres.query("DROP TABLE submissions")


def uuid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def submit(postgres: Postgres, numbers: Iterable[int]) -> None:
    for number in numbers:
        postgres.query(
            "INSERT INTO submissions (id, day, at, plain, word)"
            " VALUES (%s, date '2026-01-01' + %s, timestamptz '2026-01-01 10:00+02' + %s * interval '1 day',"
            " timestamp '2026-01-01' + %s * interval '1 day', %s)",
            uuid_of(number),
            number,
            number,
            number,
            f"w{number:03}",
        )


def sqlalchemy_url(postgres: Postgres) -> str:
    return postgres.url.replace("postgresql://", "postgresql+psycopg2://")


@pytest.mark.parametrize("cursor", ["number", "day", "at", "plain", "word", "AT"])
@pytest.mark.parametrize("where", ["database", "destination"])
def test_a_query_reads_what_is_new(submissions: Postgres, tmp_path: Path, cursor: str, where: str) -> None:
    """On the destination itself too: here both are the same server."""
    destination = dlt.destinations.postgres(submissions.url)
    query = "SELECT id::text AS id, number, day, at, plain, word FROM public.submissions"
    query += " WHERE word LIKE 'w%' AND ':x' <> '';"
    seen: list[list[str]] = []

    @dlt.source(name="enrow")
    def enrow() -> Any:
        database = sqlalchemy_url(submissions) if where == "database" else None
        ids = batch_ids_from_query(query, database=database, cursor=cursor, lag_s=10)

        @dlt.resource(name="read")
        def found() -> Iterator[Any]:
            seen.append(list(read_batch_ids(ids)))
            yield [{"batch_id": batch_id} for batch_id in seen[-1]]

        return found

    dataset = f"query_{where}_{cursor}".lower()
    for numbers in ((1, 2), (), (3,)):
        submit(submissions, numbers)
        pipeline = dlt.pipeline("enrow", destination=destination, dataset_name=dataset, pipelines_dir=str(tmp_path))
        pipeline.run(enrow())
    assert seen == [[uuid_of(1), uuid_of(2)], [uuid_of(2)], [uuid_of(2), uuid_of(3)]]


def test_a_query_in_the_configuration(
    submissions: Postgres, api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    submit(submissions, (1, 2))
    submissions.query("INSERT INTO submissions (id) VALUES (null), (%s)", uuid_of(9))
    for number in (1, 2, 9):
        api.add_completed(uuid_of(number), 1)
    options = {
        "batch_ids_query": "SELECT id, at FROM submissions",
        "batch_ids_cursor": "at",
        "batch_ids_database": sqlalchemy_url(submissions),
    }
    for _ in range(2):
        warehouse.run(new_source(**options))
    assert [api.looks(uuid_of(number)) for number in (1, 2, 9)] == [1, 1, 1]


def test_a_query_on_the_destination(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    warehouse.pipeline().run([{"id": api.add_completed("a", 1)}], table_name="submissions")
    for _ in range(2):
        warehouse.run(new_source(batch_ids_query="SELECT id FROM submissions"))
    assert api.looks("a") == 1


@pytest.mark.parametrize(
    "options,message",
    [
        ({"batch_ids_cursor": "at"}, "batch_ids_cursor needs batch_ids_query"),
        ({"batch_ids_query": "SELECT 1", "batch_ids_cursor": "a; DROP"}, "batch_ids_cursor is 'a; DROP'"),
        ({"batch_ids_query": "SELECT 1 AS number"}, "has no column batch_id or id, but number"),
        ({"batch_ids_query": "SELECT 'a' AS id", "batch_ids_cursor": "at"}, "has no column at"),
        ({"batch_ids_query": "SELECT id FROM nowhere"}, "reads what the destination does not have"),
        ({"batch_ids_query": "SELECT 1 AS id", "batch_ids_database": "nonsense://x"}, "nonsense"),
    ],
)
def test_a_query_that_gives_no_ids_is_named(
    new_source: NewSource, warehouse: Warehouse, api: SimulatedEnrow, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(Exception, match=message):
        warehouse.run(new_source(**options))
    assert api.requests == []


def test_everything_can_stand_in_the_configuration(
    tmp_path: Path, api: SimulatedEnrow, warehouse: Warehouse, configure: Any
) -> None:
    (tmp_path / "ids.txt").write_text(api.add_completed("a", 1))
    configure(
        config=f'[sources.enrow]\nenrow_base_url = "{api.url}"\nbatch_ids_file = ["ids.txt"]\n'
        "batch_ids_query = \"SELECT 'b' AS id\"\n",
        secrets=f'[sources.enrow]\nenrow_api_key = "{api.api_key}"\n',
    )
    api.add_completed("b", 1)
    warehouse.run(enrow_source())
    assert [api.looks("a"), api.looks("b")] == [1, 1]


@pytest.mark.parametrize("value", ["ids.txt", '["ids.txt"]'])
def test_files_can_be_named_in_the_environment(
    tmp_path: Path, api: SimulatedEnrow, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    (tmp_path / "ids.txt").write_text(api.add_completed("a", 1))
    monkeypatch.setenv("SOURCES__ENROW__BATCH_IDS_FILE", value)
    warehouse.run(enrow_source(enrow_api_key=api.api_key, enrow_base_url=api.url))
    assert api.looks("a") == 1


def test_a_list_of_files_that_is_none_is_named(new_source: NewSource) -> None:
    with pytest.raises(ConfigurationError, match="batch_ids_file is"):
        new_source(batch_ids_file='["ids.txt"')


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM phone_results",
        "DROP TABLE batches",
        "SELECT 1 AS id; DROP TABLE batches",
        "WITH gone AS (DELETE FROM batches RETURNING batch_id AS id) SELECT * FROM gone",
        "SELECT 1 AS id INTO batches",
        "not SQL",
        "",
    ],
)
def test_a_query_that_is_no_select_is_refused(query: str) -> None:
    with pytest.raises(ConfigurationError, match="write one SELECT"):
        batch_ids_from_query(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS id",
        "SELECT a AS id FROM b UNION ALL SELECT c FROM d;",
        "WITH ids AS (SELECT 1 AS id) SELECT * FROM ids",
        "FROM sent SELECT id",
        "SELECT id FROM `project.dataset.sent` -- sent today",
    ],
)
def test_any_select_is_taken(query: str) -> None:
    assert batch_ids_from_query(query).name


def test_the_errors_are_configuration_errors() -> None:
    with pytest.raises(ConfigurationError):
        batch_ids_from_query("SELECT 1", cursor="not a name")


def test_no_id_is_lost_where_runs_are_killed(tmp_path: Path, api: SimulatedEnrow) -> None:
    """Runs that take a few batches each, killed at random moments; at random the working folder goes too."""
    chance = random.Random(6)
    (tmp_path / "ids").mkdir()
    environ = {
        "PATH": os.environ["PATH"],
        "DLT_DATA_DIR": str(tmp_path / "dlt"),
        "ENROW_API_KEY": api.api_key,
        "SOURCES__ENROW__ENROW_BASE_URL": api.url,
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    command = [sys.executable, "-m", "enrow_source", "run", "--batch-ids-file", "ids/*.txt"]
    ids: list[str] = []
    for run in range(6):
        new = [api.add_completed(f"b{run}-{number}", 2) for number in range(5)]
        ids += new
        written(tmp_path / "ids" / f"{run}.txt", *new)
        running = subprocess.Popen([*command, "--max-batches", "3"], cwd=tmp_path, env=environ)
        started = len(api.requests)
        until = time.monotonic() + 30
        while running.poll() is None and len(api.requests) == started and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 1.5))
        running.kill()
        running.wait()
        if chance.random() < 0.4:
            shutil.rmtree(tmp_path / "dlt", ignore_errors=True)
    subprocess.run(command, cwd=tmp_path, env=environ, check=True, stdout=subprocess.DEVNULL)
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        found = connection.execute("SELECT batch_id, count(*) FROM enrow_data.phone_results GROUP BY 1").fetchall()
    assert dict(found) == dict.fromkeys(ids, 2)
