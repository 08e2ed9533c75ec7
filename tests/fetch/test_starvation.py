"""Nothing that can be loaded waits forever behind what cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from enrow_source import RunReport, run
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.runner.report import ExitCode
from enrow_source.testing import Response, SimulatedEnrow
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)

pytestmark = pytest.mark.usefixtures("held_open")

Load = Callable[..., RunReport]
Known = Callable[[str], set[str]]


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.slow)])
def destination(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "postgres":
        postgres: Postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres.url)
    return str(request.param)


@pytest.fixture
def load(api: SimulatedEnrow, tmp_path: Path, destination: str, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Run once, each time in a fresh working folder."""
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")

    def load(batch_ids: Sequence[str], **options: Any) -> RunReport:
        pipeline = build_pipeline(destination, dataset(tmp_path), pipelines_dir=str(tmp_path / "pipelines"))
        return run(batch_ids, pipeline=pipeline, **options)

    return load


@pytest.fixture
def known(tmp_path: Path, destination: str) -> Known:
    def known(sql: str) -> set[str]:
        pipeline = build_pipeline(destination, dataset(tmp_path), pipelines_dir=str(tmp_path / "pipelines"))
        with pipeline.sql_client() as client:
            return {value for (value,) in client.execute_sql(sql) or ()}

    return known


def dataset(folder: Path) -> str:
    return folder.name.replace("-", "_").lower()


COMPLETED = "SELECT batch_id FROM phone_results_ledger WHERE status = 'completed'"


def test_a_good_batch_a_day_beside_many_bad_ones(api: SimulatedEnrow, load: Load, known: Known) -> None:
    """The ids of 70 batches answer 500 forever; a good one comes with every run, and is loaded in that run."""
    bad = [api.respond(f"bad-{number}", Response.server_error()) for number in range(70)]
    ids, good = list(bad), set()
    for day in range(3):
        good.add(api.add_completed(f"good-{day}", 1))
        ids.append(f"good-{day}")
        report = load(ids)
        if day:
            assert known(COMPLETED) == good
    assert report.exit_code is ExitCode.PARTIAL
    assert report.fetched == len(ids) - 2


def test_ongoing_batches_go_before_failed_ones(api: SimulatedEnrow, load: Load, known: Known, tmp_path: Path) -> None:
    """Ids that no later file names, which fail, wait behind a batch that was ongoing."""
    folder = tmp_path / "ids"
    folder.mkdir()
    bad = [api.respond(f"bad-{number}", Response.server_error()) for number in range(20)]
    (folder / "first.txt").write_text("\n".join([api.add_ongoing("slow", 2, 1), *bad]) + "\n")
    options = {"batch_ids_file": str(folder), "max_consecutive_failures": 10, "connections": 2}
    reports = [load([], **options) for _ in range(3)]
    assert known(COMPLETED) == {"slow"}
    assert [report.exit_code for report in reports] == [ExitCode.API_UNAVAILABLE, *[ExitCode.PARTIAL] * 2]
    assert [report.fetched for report in reports[1:]] == [21, 21]
    for batch_id in bad:
        api.add_completed(batch_id, 1)
    load([], **options)
    assert known(COMPLETED) == {"slow", *bad}


@pytest.mark.slow
def test_ids_that_hang_do_not_use_up_every_deadline(api: SimulatedEnrow, load: Load, known: Known) -> None:
    """Every connection hangs until the deadline; the next run has them after the others, and loads those."""
    hanging = [api.respond(f"hangs-{number}", Response(delay_s=60)) for number in range(4)]
    good = [api.add_completed(f"good-{number}", 1) for number in range(6)]
    first = load([*hanging, *good], connections=4, deadline_s=0.5)
    assert (first.exit_code, first.unreadable) == (ExitCode.INTERRUPTED, 0)
    assert known("SELECT DISTINCT kind FROM batch_errors") == {"not_answered"}
    second = load([*hanging, *good], connections=4, deadline_s=2)
    assert known(COMPLETED) == set(good)
    assert (second.exit_code, second.fetched) == (ExitCode.INTERRUPTED, 6)


@pytest.mark.parametrize(
    "tables",
    [
        pytest.param(("phone_results",), id="results"),
        pytest.param(("batches",), id="batches", marks=pytest.mark.slow),
        pytest.param((), id="all", marks=pytest.mark.slow),
    ],
)
def test_failed_ids_go_last_in_bounded_runs(
    api: SimulatedEnrow, load: Load, known: Known, tables: Sequence[str]
) -> None:
    """Also where `batch_errors` is not among the tables that were asked for."""
    bad = [api.respond(f"bad-{number}", Response.unreadable()) for number in range(5)]
    good = [api.add_completed(f"good-{number}", 1) for number in range(10)]
    for _ in range(3):
        load([*bad, *good], max_batches=5, tables=tables)
    assert known(f"SELECT batch_id FROM {'batches' if 'batches' in tables else 'phone_results_ledger'}") == set(good)
    assert known("SELECT batch_id FROM batch_errors") == set(bad)


@pytest.mark.slow
def test_failed_ids_have_their_turn_too(api: SimulatedEnrow, load: Load, known: Known) -> None:
    """More batches are always ongoing than a run fetches; one that failed once, and is there now, is loaded."""
    recovered = api.respond("recovers", Response.unreadable())
    ongoing = [api.add_ongoing(f"ongoing-{number}", None) for number in range(4)]
    load([recovered, *ongoing])
    api.add_completed(recovered, 1)
    for _ in range(4):
        load([recovered, *ongoing], max_batches=2)
    assert known(COMPLETED) == {recovered}


def test_a_failure_that_is_over_counts_no_more(api: SimulatedEnrow, load: Load) -> None:
    """Who was fetched well since then, and fails again, shows that the API is down."""
    ids = [api.respond(f"batch-{n}", Response.server_error()) for n in range(6)]
    load(ids, max_consecutive_failures=10)
    for batch_id in ids:
        api.add_ongoing(batch_id, None)
    load(ids)
    for batch_id in ids:
        api.respond(batch_id, Response.server_error())
    report = load(ids, max_consecutive_failures=3, connections=1)
    assert report.exit_code is ExitCode.API_UNAVAILABLE
    assert report.fetched < len(ids)
