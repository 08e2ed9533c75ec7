"""An API that is down: what is loaded stays, and the next run goes on."""

import re

import pytest

from enrow_source.runner.report import ExitCode, RunReport
from enrow_source.testing import Response, SimulatedEnrow
from tests.conftest import Load
from tests.fetch.faults import ATTEMPTS, RESULTS, is_loaded
from tests.support import faults_page
from tests.support.faults_page import Seen, batch_rows
from tests.support.warehouse import Warehouse

pytestmark = pytest.mark.usefixtures("quick")


def test_loaded_rows_stay_while_the_api_is_down(
    api: SimulatedEnrow, warehouse: Warehouse, load: Load, logged: pytest.LogCaptureFixture
) -> None:
    """What was loaded stays while the API is down, and the next run goes on."""
    ids = [api.add_completed(f"batch-{number}", RESULTS) for number in range(6)]
    load(ids[:3])
    with SimulatedEnrow() as closed:
        nobody = closed.url
    away = load(ids, enrow_base_url=nobody)
    seen = batch_rows(warehouse)
    assert f"(host {nobody.removeprefix('http://')})" in logged.text
    assert (away.unreadable, away.exit_code) == (3, ExitCode.API_UNAVAILABLE)
    assert all(is_loaded(seen[batch_id]) for batch_id in ids[:3])
    assert {seen[batch_id].error[:2] for batch_id in ids[3:]} == {("connection", None)}
    assert all("refused" in seen[batch_id].error[2] for batch_id in ids[3:])

    more = [api.add_completed(f"later-{number:02}", RESULTS) for number in range(15)]
    stopped = load(more, enrow_base_url=nobody, max_consecutive_failures=3, connections=1)
    assert (stopped.stop_reason, stopped.exit_code) == ("api_unavailable", ExitCode.API_UNAVAILABLE)
    assert 3 <= stopped.unreadable <= 3 + 3

    back = load([*ids, *more])
    assert (back.fetched, back.completed, back.exit_code) == (18, 18, ExitCode.OK)
    assert [api.fetches(batch_id) for batch_id in [*ids, *more]] == [1] * 21
    assert all(len(rows.results) == RESULTS for rows in batch_rows(warehouse).values())

    refused = "connection refused"
    faults_page.check(
        "Runs that end early",
        [
            Seen(
                f"{refused}",
                f"{ATTEMPTS} attempts for each batch, then an error row",
                faults_page.shown_error(seen[ids[3]], "refused"),
            ),
            api_unavailable_row(refused, stopped),
            *stopped_by_an_api_that_is_down(api, warehouse, load),
        ],
    )


def stopped_by_an_api_that_is_down(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> list[Seen]:
    """Run into an API that answers five batches, and no more."""
    rows: list[Seen] = []
    batches = {}
    for what, response in {
        "500 forever": Response.server_error(500),
        "429 forever": Response.rate_limited(0),
    }.items():
        well = [api.add_completed(f"well-{len(rows)}-{number}", RESULTS) for number in range(5)]
        ill = [api.respond(f"ill-{len(rows)}-{number:02}", response) for number in range(30)]
        report = load([*well, *ill], max_consecutive_failures=6, connections=2)

        assert (report.completed, report.stop_reason, report.exit_code) == (
            5,
            "api_unavailable",
            ExitCode.API_UNAVAILABLE,
        )
        assert re.search(rf"^stopped early +{report.stop_reason} ", str(report), re.MULTILINE)
        asked = [batch_id for batch_id in ill if api.fetches(batch_id)]
        assert 6 <= len(asked) <= 6 + 2 * 2 + 2  # each connection may be two batches ahead
        assert {api.fetches(batch_id) for batch_id in asked[:6]} == {ATTEMPTS}
        seen = batch_rows(warehouse)
        assert all(is_loaded(seen[batch_id]) for batch_id in well)
        assert [batch_id for batch_id in asked[:6] if seen[batch_id].error[1] != response.status] == []
        rows.append(api_unavailable_row(what, report))
        batches[what] = ill
    ids = [api.add_completed(batch_id, RESULTS) for ill in batches.values() for batch_id in ill]
    assert load(ids).completed == len(ids)
    assert {len(batch_rows(warehouse)[batch_id].results) for batch_id in ids} == {RESULTS}
    return rows


def api_unavailable_row(what: str, report: RunReport) -> Seen:
    before = f"loaded the {report.completed} batches before it, and stopped" if report.completed else "stopped"
    where = f"exit code {report.exit_code}, `stopped early`: `{report.stop_reason}`"
    return Seen(f"{what}, for `max_consecutive_failures` batches in a row", before, where)
