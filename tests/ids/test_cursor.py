"""Only new files are read, and no id is lost, whatever becomes of the run that read them."""

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.common.storages.fsspec_filesystem import FileItemDict

from enrow_source import batch_ids_from_files
from enrow_source.testing import Response, SimulatedEnrow
from tests.conftest import NewSource
from tests.support.command import enrow, environ
from tests.support.warehouse import Warehouse

pytest_plugins = ("tests.support.postgres",)


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
    assert [api.fetches(name) for name in "abcd"] == [1, 1, 1, 1]
    warehouse.run(new_source(files(lag_s=3600)))
    assert opened.taken() == ["a.txt", "b.txt", "c.txt", "d.txt"]


@pytest.mark.slow
def test_cursor_goes_back_where_needed(
    tmp_path: Path, api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    """Files that the cursor has passed are read again where they are needed."""
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


@pytest.mark.slow
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
    assert [api.fetches(batch_id) for batch_id in ids] == [1] * 7
    warehouse.run(new_source(files(), max_batches=3))
    assert len(api.requests) == 7
    assert warehouse.rows("deferred_batch_ids") == []


@pytest.mark.parametrize("container", ["another", pytest.param("first", marks=pytest.mark.slow)])
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
    assert [api.fetches(batch_id) for batch_id in ("done", "two", "down")] == [1, 1, 3]
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
    assert [api.fetches(str(row["id"])) for row in rows] == [1] * 4


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


@pytest.mark.slow
def test_no_id_is_lost_where_runs_are_killed(tmp_path: Path, api: SimulatedEnrow) -> None:
    """Runs that take a few batches each, killed at random moments; at random the working folder goes too."""
    chance = random.Random(6)
    (tmp_path / "ids").mkdir()
    command = enrow("run", "--batch-ids-file", "ids/*.txt")
    ids: list[str] = []
    for run in range(6):
        new = [api.add_completed(f"b{run}-{number}", 2) for number in range(5)]
        ids += new
        written(tmp_path / "ids" / f"{run}.txt", *new)
        running = subprocess.Popen([*command, "--max-batches", "3"], cwd=tmp_path, env=environ(tmp_path, api))
        started = len(api.requests)
        until = time.monotonic() + 30
        while running.poll() is None and len(api.requests) == started and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 1.5))
        running.kill()
        running.wait()
        if chance.random() < 0.4:
            shutil.rmtree(tmp_path / "dlt", ignore_errors=True)
    subprocess.run(command, cwd=tmp_path, env=environ(tmp_path, api), check=True, stdout=subprocess.DEVNULL)
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        found = connection.execute("SELECT batch_id, count(*) FROM enrow_data.phone_results GROUP BY 1").fetchall()
    assert dict(found) == dict.fromkeys(ids, 2)
