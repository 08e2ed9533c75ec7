"""Cursors: how far ids were read, and what never makes them pass over an id."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import pytest

from enrow_source import ConfigurationError, batch_ids_from_files, batch_ids_from_query
from enrow_source.ids.input import read_batch_ids
from tests.support.postgres import Postgres
from tests.support.warehouse import Warehouse

pytest_plugins = ("tests.support.postgres",)


class Reader:
    """Reads ids in runs of a pipeline, without the API."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._invalid: tuple[str, ...] = ()

    def ids(self, *resources: Any) -> list[str]:
        found: list[str] = []

        @dlt.source(name="enrow")
        def enrow() -> Any:
            @dlt.resource(name="read")
            def read() -> Iterator[Any]:
                entries = read_batch_ids(resources).read()
                found.extend(entries.ids)
                self.invalid = list(entries.invalid)
                yield [{"batch_id": batch_id} for batch_id in found] or [{"batch_id": "none"}]

            return read

        self._warehouse.run(enrow())
        return sorted(found)


@pytest.fixture
def reader(warehouse: Warehouse) -> Reader:
    return Reader(warehouse)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ids").mkdir()
    return tmp_path / "ids"


def test_a_file_from_the_future_hides_none(folder: Path, reader: Reader, logged: pytest.LogCaptureFixture) -> None:
    """Whatever clock has dated a file, what arrives after it is read; the log says that it is ahead."""
    (folder / "a.txt").write_text("a\n")
    (folder / "b.txt").write_text("b\n")
    ahead = time.time() + 400 * 86_400
    os.utime(folder / "b.txt", (ahead, ahead))
    assert reader.ids(batch_ids_from_files("ids/*.txt", lag_s=0)) == ["a", "b"]
    assert "1 of the files ids/*.txt are dated ahead of the clock" in logged.text
    time.sleep(0.05)
    (folder / "c.txt").write_text("c\n")
    assert "c" in reader.ids(batch_ids_from_files("ids/*.txt", lag_s=0))


def test_a_mark_from_the_future_is_dropped(
    folder: Path, reader: Reader, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with a clock of its own leaves a mark there; the next one says so and reads all again."""
    (folder / "a.txt").write_text("a\n")
    with monkeypatch.context() as wrong:
        wrong.setattr("enrow_source.ids.files.not_ahead", lambda _: datetime.now(UTC) + timedelta(days=400))
        reader.ids(batch_ids_from_files("ids/*.txt"))
    (folder / "b.txt").write_text("b\n")
    assert reader.ids(batch_ids_from_files("ids/*.txt")) == ["a", "b"]
    assert "ahead of the clock of this run" in logged.text


def test_a_folder_that_is_moved_in_is_new(tmp_path: Path, folder: Path, reader: Reader) -> None:
    """Its files keep their times: when the folder came counts."""
    (tmp_path / "staged" / "deep").mkdir(parents=True)
    (tmp_path / "staged" / "deep" / "late.txt").write_text("late\n")
    time.sleep(0.05)
    (folder / "a.txt").write_text("a\n")
    assert reader.ids(batch_ids_from_files("ids", lag_s=0)) == ["a"]
    time.sleep(0.05)
    (tmp_path / "staged").rename(folder / "moved")
    assert "late" in reader.ids(batch_ids_from_files("ids", lag_s=0))


def test_a_folder_that_takes_its_place_is_new(tmp_path: Path, folder: Path, reader: Reader) -> None:
    """Also where the folder that is read is itself replaced by one that was filled before."""
    (tmp_path / "staged").mkdir()
    (tmp_path / "staged" / "late.txt").write_text("late\n")
    time.sleep(0.05)
    (folder / "a.txt").write_text("a\n")
    assert reader.ids(batch_ids_from_files("ids", lag_s=0)) == ["a"]
    folder.rename(tmp_path / "old")
    time.sleep(0.05)
    (tmp_path / "staged").rename(folder)
    assert reader.ids(batch_ids_from_files("ids", lag_s=0)) == ["late"]


def test_a_half_written_line_is_read_later(folder: Path, reader: Reader) -> None:
    """It is reported, and read when it has its end; also where nothing ends it."""
    path = folder / "a.txt"
    path.write_text("AAAA\nBBBB\nCC")
    assert reader.ids(batch_ids_from_files("ids/*.txt")) == ["AAAA", "BBBB"]
    assert reader.invalid[0].endswith("a.txt:3 has no end yet: the next run reads it")
    with path.open("a") as opened:
        opened.write("CC\n")
    assert reader.ids(batch_ids_from_files("ids/*.txt")) == ["AAAA", "BBBB", "CCCC"]
    assert reader.invalid == []


@pytest.mark.parametrize("name", ["ids [2026]", "100% ids", "a#b", "what?", "a*b", "ü ;x", "[!a]", "%41"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "in [it]"
    folder.mkdir(parents=True)
    (folder / "x [1].txt").write_text("a\n")
    places = [f"{name}/in [[]it]/*.txt", f"{name}/in [it]/*.txt", f"{name}/in [it]/x [1].txt", name, str(folder)]
    for place in places:
        assert list(read_batch_ids([batch_ids_from_files(place)])) == ["a"], place


def test_a_glob_that_matches_nothing_is_said(folder: Path, logged: pytest.LogCaptureFixture) -> None:
    for place in ("ids/*.cvs", "ids", "*.txt"):
        assert list(read_batch_ids([batch_ids_from_files(place)])) == []
        assert f"no file matches {place}: no batch ids are read from there" in logged.text
    (folder / "a.txt").write_text("a\n")
    assert list(read_batch_ids([batch_ids_from_files("ids/*")])) == ["a"]


@pytest.mark.parametrize("place", ["missing/*.txt", "ids/missing/deep/*", "missing/**/*.csv"])
@pytest.mark.usefixtures("folder")
def test_a_folder_that_does_not_exist_is_an_error(place: str) -> None:
    """As with a wrong working directory, which is named."""
    with pytest.raises(ConfigurationError, match=r"there is no folder .*missing, in which .* the working directory, /"):
        batch_ids_from_files(place)


@pytest.mark.parametrize("place", ["", " "])
def test_an_empty_place_is_an_error(place: str) -> None:
    with pytest.raises(ConfigurationError, match="batch_ids_file is empty"):
        batch_ids_from_files(place)


@pytest.fixture
def table(postgres: Postgres) -> Iterator[Postgres]:
    postgres.query(
        'CREATE TABLE "Submission" ("batchId" text, "createdAt" timestamptz, number int, key uuid, day date,'
        " word text, iso text, flag boolean)"
    )
    yield postgres
    postgres.query('DROP TABLE "Submission"')


def add(table: Postgres, batch_id: str, at: datetime) -> None:
    table.query(
        'INSERT INTO "Submission" VALUES (%s, %s, 1, gen_random_uuid(), %s, %s, %s, true)',
        batch_id,
        at,
        at.date(),
        batch_id,
        at.isoformat(),
    )


def url(postgres: Postgres) -> str:
    return f"postgresql+psycopg2://{postgres.url.removeprefix('postgresql://')}"


QUERY = 'SELECT "batchId" AS batch_id, "createdAt", number, key, day, word, iso, flag FROM "Submission"'
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.mark.parametrize(
    "cursor", ["createdAt", *(pytest.param(each, marks=pytest.mark.slow) for each in ('"createdAt"', "createdat"))]
)
def test_a_cursor_has_the_name_it_has(table: Postgres, reader: Reader, cursor: str) -> None:
    """However the option spells it, the database is asked for its own name, in the second run too."""
    for number in range(3):
        add(table, f"b{number}", NOW - timedelta(days=9 - number))
        ids = reader.ids(batch_ids_from_query(QUERY, database=url(table), cursor=cursor))
        assert ids == [f"b{n}" for n in range(max(0, number - 1), number + 1)]


@pytest.mark.parametrize("cursor", ["createdAt", "iso"])
def test_a_row_from_the_future_hides_none(
    table: Postgres, reader: Reader, logged: pytest.LogCaptureFixture, cursor: str
) -> None:
    add(table, "early", NOW + timedelta(days=400))
    query = batch_ids_from_query(QUERY, database=url(table), cursor=cursor)
    assert reader.ids(query) == ["early"]
    assert f"1 rows of batch_ids_query have a {cursor} ahead of the clock" in logged.text
    add(table, "late", NOW)
    assert reader.ids(query) == ["early", "late"]


def test_a_late_row_of_a_day_is_read(table: Postgres, reader: Reader) -> None:
    """A column of dates has a lag of days."""
    query = batch_ids_from_query(QUERY, database=url(table), cursor="day")
    add(table, "second", NOW - timedelta(days=5))
    reader.ids(query)
    add(table, "late", NOW - timedelta(days=6))
    assert reader.ids(query) == ["late", "second"]


@pytest.mark.parametrize(
    "cursor,message",
    [
        ("key", "values of the type UUID, which do not grow"),
        ("word", "is text, which databases sort in ways of their own"),
        ("flag", "values of the type bool"),
        ("missing", "has no column missing, the batch_ids_cursor, but batch_id, createdAt"),
    ],
)
def test_a_cursor_that_loses_rows_is_refused(table: Postgres, reader: Reader, cursor: str, message: str) -> None:
    """In the first run, not in the second."""
    add(table, "a", NOW)
    with pytest.raises(Exception, match=message):
        reader.ids(batch_ids_from_query(QUERY, database=url(table), cursor=cursor))


@pytest.mark.parametrize("cursor", ["number", "iso"])
def test_a_cursor_without_a_lag_says_so(
    table: Postgres, reader: Reader, logged: pytest.LogCaptureFixture, cursor: str
) -> None:
    add(table, "a", NOW)
    query = batch_ids_from_query(QUERY, database=url(table), cursor=cursor)
    reader.ids(query)
    assert f"batch_ids_cursor {cursor} is no time: a row that appears later with a lower value" in logged.text
    assert reader.ids(query) == ["a"]


@pytest.mark.parametrize(
    "query,cursor,message",
    [
        ('SELECT "createdAt", number FROM "Submission"', "createdAt", "has no column batch_id, bulk_id or id"),
        ('SELECT "createdAt", number FROM "Submission"', None, "has no column batch_id, bulk_id or id"),
        ('SELECT word AS id, "batchId" AS id FROM "Submission"', None, "several columns id"),
        ('SELECT word AS id FROM "Submission"', "createdAt", "has no column createdAt"),
        ('SELECT 1 AS id, json_build_object() AS at FROM "Submission"', "at", "json"),
    ],
)
def test_a_query_without_rows_is_tried_too(
    table: Postgres, reader: Reader, query: str, cursor: str | None, message: str
) -> None:
    """What is wrong with it is said while it has no rows yet."""
    with pytest.raises(Exception, match=message):
        reader.ids(batch_ids_from_query(query, database=url(table), cursor=cursor))
