"""A batch that contradicts what is recorded of submissions: counted, in the run's row, in the exit code."""

from __future__ import annotations

import json

import pytest

from enrow_source import ExitCode, RunReport, run
from enrow_source.submissions.resolve import resolve_submission
from enrow_source.testing import bodies

from .conftest import Place
from .rows import row

pytest_plugins = ("tests.support.postgres",)


def load(place: Place, *batch_ids: str) -> RunReport:
    return run(batch_ids, pipeline=place.pipeline(), enrow_api_key=place.api.api_key, enrow_base_url=place.api.url)


def in_runs(place: Place) -> list[tuple[object, ...]]:
    return place.sql("SELECT submissions_in_doubt, reasons, exit_code FROM {enrow_runs} ORDER BY started_at")


def test_resolved_with_the_batch_of_another_one(place: Place, logged: pytest.LogCaptureFixture) -> None:
    """It is unknown again, as the batch says, and the run that finds it out ends with another code than 0."""
    place.api.fault_posts("accept-then-drop", "accept-then-drop")
    place.submit([row(1)])
    place.submit([row(2)])
    (first,), (second,) = place.sql("SELECT submission_id FROM {submissions} ORDER BY created_at")
    other = place.api.accepted[1].batch_id
    resolve_submission(place.pipeline(), first, batch_id=other)
    place.api.finish()
    report = load(place)
    assert (report.submissions_in_doubt, report.exit_code) == (1, ExitCode.IN_DOUBT)
    assert "in doubt" in str(report)
    assert place.states() == ["unknown", "accepted"]
    assert in_runs(place) == [(1, "in_doubt", 7)]
    assert f"which is that of submission {second}: it is unknown again" in logged.text
    assert load(place).exit_code == ExitCode.OK


def test_two_batches_of_one_submission(duck: Place, logged: pytest.LogCaptureFixture) -> None:
    """Its people may have been paid for twice."""
    duck.submit([row(1)])
    ((submission_id,),) = duck.sql("SELECT submission_id FROM {submissions}")
    duck.api.finish()
    copied = bodies.completed("copied", 1, custom={"submission": submission_id})
    report = load(duck, duck.api.respond("copied", json.loads(json.dumps(copied))))
    assert (report.submissions_in_doubt, report.exit_code) == (1, ExitCode.IN_DOUBT)
    assert "became two batches" in logged.text
