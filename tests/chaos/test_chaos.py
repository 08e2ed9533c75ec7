"""Runs that are killed, and runs whose disk or destination fails: real processes, the tables compared row by row."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.chaos import submit
from tests.chaos.campaign import DestinationName, run_campaign
from tests.chaos.child import Job
from tests.chaos.compare import TABLES, differences
from tests.chaos.destinations import ChaosDestination, DuckDBFile, PostgresDataset
from tests.chaos.expected import expected_rows
from tests.chaos.forks import ChildEnd, Forks
from tests.chaos.points import Kill, Point
from tests.chaos.scenario import Batch, Served, served
from tests.support import faults_page
from tests.support.faults_page import Seen
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)

SEED = 116
"""Six kills; one while a load that was killed is being given up, and the run after it is not killed."""
RESULTS = 500
SECTION = "When the worker, the disk or the destination fails"


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with Forks(tmp_path_factory.mktemp("forks")) as running:
        yield running


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """For runs beside those of `forks`."""
    with Forks(tmp_path_factory.mktemp("beside")) as running:
        yield running


@pytest.mark.parametrize("destination", ["duckdb", pytest.param("postgres", marks=pytest.mark.slow)])
def test_six_kills_and_the_tables_are_right(
    postgres: Postgres, forks: Forks, beside: Forks, destination: DestinationName
) -> None:
    """A dozen in all."""
    tally = run_campaign(destination, seed=SEED, kills=6, forks=(forks, beside), server=postgres)
    assert tally.kills.total() >= 6
    wrong = [line for outcome in tally.wrong for line in (*outcome.story, *outcome.wrong)]
    assert not wrong, "\n".join(wrong)
    assert tally.kills[Point.GIVING_UP]
    faults_page.check_row(
        SECTION,
        Seen(
            "SIGKILL at random points, a dozen times, the working folder deleted now and then",
            "the next runs made good what was left: no row missing, none twice",
            "`make chaos` names the points, and kills 200 times for each of DuckDB, Postgres and Delta",
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("destination", ["duckdb", "postgres"])
def test_kills_and_nobody_is_paid_for_twice(
    postgres: Postgres, forks: Forks, beside: Forks, destination: DestinationName
) -> None:
    """Runs of `enrow submit`; `python -m tests.chaos.submit` kills 200 on each destination."""
    tally = submit.run_campaign(destination, seed=1, kills=6, forks=(forks, beside), server=postgres)
    wrong = [line for outcome in tally.wrong for line in (*outcome.story, *outcome.wrong)]
    assert not wrong, "\n".join(wrong)
    assert tally.kills.total() >= 6


class Scene:
    """Runs of one pipeline into one destination; every run is given all ids."""

    def __init__(self, api: SimulatedEnrow, forks: Forks, folder: Path, warehouse: ChaosDestination) -> None:
        self.api, self.forks, self.folder, self.warehouse = api, forks, folder, warehouse
        self.batches: list[Batch] = []
        self.starts: list[int] = []
        self.failed: set[int] = set()

    def add_batches(self) -> None:
        for number in range(2):
            batch_id = f"batch-{len(self.batches)}"
            answer = Response(body=bodies.completed(batch_id, RESULTS + number))
            self.batches.append(Batch(batch_id, "completed", (answer,), 0))
            self.api.respond(batch_id, answer)

    def run(self, when_halted: Callable[[], None] = lambda: None, **options: Any) -> ChildEnd:
        environment = {"ENROW_API_KEY": self.api.api_key, "DLT_DATA_DIR": str(self.folder / "dlt")}
        arguments = [*self.warehouse.arguments, "--base-url", self.api.url, *(b.batch_id for b in self.batches)]
        job = Job(str(self.folder), arguments, environment | self.warehouse.environment, **options)
        self.starts.append(len(self.api.requests))
        return self.forks.run(job, when_halted)

    def fails(self, naming: str, *arguments: Any, **options: Any) -> None:
        """Run, and expect that the last line names the error."""
        ended = self.run(*arguments, **options)
        self.failed.add(len(self.starts) - 1)
        assert ended.returncode == 1, ended
        message = ended.stderr.splitlines()[-1]
        assert message.startswith("error: "), ended.stderr
        assert naming in message
        # A driver may say a line of its own when its server goes away; nobody is to read a traceback.
        assert not any(line.startswith("Traceback") for line in ended.stderr.splitlines()), ended.stderr

    def succeeds(self) -> None:
        ended = self.run()
        assert ended.returncode == 0, ended.stderr
        wrong = [
            line for line in ended.stderr.splitlines() if "gave up 1 load" not in line and "killed load(s)" not in line
        ]
        assert wrong == []

    def is_right(self, what: str, naming: str) -> None:
        """Compare the tables with what was served, and put down that the next run made it good."""
        answers = served(self.api, self.batches, self.starts)
        assert differences(self.warehouse.read(TABLES), answers, self.failed) == []
        did = "ended; what was loaded stayed, and the next run loaded the rest"
        faults_page.check_row(SECTION, Seen(what, did, f"exit code 1, `error: ... {naming} ...`"))


@pytest.fixture
def into_duckdb(api: SimulatedEnrow, forks: Forks, tmp_path: Path) -> Scene:
    return Scene(api, forks, tmp_path, DuckDBFile(tmp_path))


@pytest.fixture
def into_postgres(api: SimulatedEnrow, forks: Forks, tmp_path: Path, postgres: Postgres) -> Iterator[Scene]:
    dataset = PostgresDataset(postgres, "chaos_scene")
    yield Scene(api, forks, tmp_path, dataset)
    dataset.drop()


def test_a_full_disk_under_the_working_folder(into_postgres: Scene) -> None:
    into_postgres.add_batches()
    into_postgres.fails("File too large", file_limit_bytes=10_000)
    into_postgres.succeeds()
    into_postgres.is_right("a full disk under the working folder", "File too large")


@pytest.mark.slow
def test_a_full_disk_under_the_duckdb_file(into_duckdb: Scene) -> None:
    into_duckdb.add_batches()
    into_duckdb.fails("warehouse.duckdb", file_limit_bytes=50_000)
    into_duckdb.succeeds()
    into_duckdb.is_right("a full disk under the file of DuckDB", "warehouse.duckdb")


@pytest.mark.slow
def test_postgres_stops_between_two_tables(into_postgres: Scene, postgres: Postgres) -> None:
    """Postgres stops when some of the tables have their rows."""
    into_postgres.add_batches()
    into_postgres.succeeds()
    into_postgres.add_batches()
    try:
        into_postgres.fails("server", postgres.stop, kill=Kill(Point.COPIED, 2), signal=signal.SIGSTOP)
    finally:
        postgres.start()
    into_postgres.succeeds()
    into_postgres.is_right("a Postgres that stops between two tables", "server")


@pytest.mark.slow
def test_a_duckdb_file_that_another_process_has_locked(into_duckdb: Scene) -> None:
    into_duckdb.add_batches()
    into_duckdb.succeeds()
    into_duckdb.add_batches()
    holds = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print(flush=True); input()"
    command = [sys.executable, "-c", holds, str(into_duckdb.folder / "warehouse.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        into_duckdb.fails("lock")
        other.communicate(b"\n")
    into_duckdb.succeeds()
    into_duckdb.is_right("a file of DuckDB that another process has open", "lock")


COMPLETED = Response(body=bodies.completed("done", 2, found_share=0.5))
REFUSED = Response.unreadable()
STAMPS = {"fetched_at": 1, "_dlt_load_id": "7"}


def right() -> tuple[dict[str, list[dict[str, Any]]], list[Served]]:
    """Return tables and answers that agree: a batch that is complete, an id that nobody knows."""
    answers = [Served("done", 0, COMPLETED), Served("nobody", 0, REFUSED)]
    tables = {name: [row | STAMPS for row in rows] for name, rows in expected_rows(answers).items()}
    error = {"batch_id": "nobody", "kind": "expired_or_unknown", "http_status": 400}
    return tables | {"batch_errors": [error | STAMPS], "_dlt_loads": [{"load_id": "7", "status": 0}]}, answers


def test_the_comparison_agrees_with_what_is_right() -> None:
    assert right()[0]["phone_results"][0] != right()[0]["phone_results"][1]
    assert differences(*right(), killed=set()) == []


@pytest.mark.parametrize("table", ["batches", "batch_stats", "phone_results", "phone_results_ledger", "batch_errors"])
def test_comparison_finds_missing_and_double_rows(table: str) -> None:
    """The comparison finds a row that is missing or there twice."""
    tables, answers = right()
    row = tables[table].pop()
    assert differences(tables, answers, killed=set())
    tables[table] += [row, row]
    assert differences(tables, answers, killed=set())


def test_comparison_finds_wrong_values() -> None:
    """The comparison finds a wrong value, an unfinished load and a mix of fetches."""
    for table, change in (
        ("phone_results", {"number": "+12025550100"}),
        ("batches", {"fetched_at": 2}),
        ("_dlt_loads", {"status": 1}),
    ):
        tables, answers = right()
        tables[table][-1] |= change
        assert differences(tables, answers, killed=set()), table


def test_the_comparison_counts_what_was_fetched_again() -> None:
    tables, answers = right()
    again = [*answers, Served("done", 1, COMPLETED)]
    assert differences(tables, again, killed={0}) == []
    assert differences(tables, again, killed={1}) == ["done was asked for again by run 1, though run 0 had loaded it"]
    assert differences(tables, [*answers, answers[0]], killed={0}) == ["done was asked for 2 times in run 0"]
