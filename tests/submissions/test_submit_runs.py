"""`submit_runs`: what each run read, left out by reason, and submitted; so that the funnel is a question to SQL."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest

from enrow_source import ConfigurationError
from enrow_source.submissions.plan import LeftOut

from .conftest import Place
from .rows import row

pytest_plugins = ("tests.support.postgres",)

COUNTS = "rows_read, searches, searches_accepted, searches_unknown, CAST(credits_held AS INT), exit_code, error"


def runs(place: Place) -> list[tuple[Any, ...]]:
    return place.sql(f"SELECT {COUNTS} FROM {{submit_runs}} ORDER BY started_at")


def test_each_run_has_a_row(place: Place) -> None:
    """Also where it submits nothing, where it may not, and where nobody can tell; none for a dry run."""
    place.submit([row(1), row(1), {"firstname": "Alma"}, row(2), row(3)], limit=2, campaign="spring")
    place.submit([row(1), row(2)])
    place.submit([row(4)], dry_run=True)
    with pytest.raises(ConfigurationError, match="max_credits is 39"):
        place.submit([row(4)], 39)
    place.api.fault_posts("refuse-then-drop")
    place.submit([row(5)])
    assert runs(place) == [
        (5, 2, 2, 0, 80, 3, None),
        (2, 0, 0, 0, 0, 0, None),
        (1, 1, 0, 0, 0, 2, "ConfigurationError"),
        (1, 1, 0, 1, 0, 7, None),
    ]
    left_out = ", ".join(f"left_out_{reason.value}" for reason in LeftOut)
    (first, *_) = place.sql(f"SELECT campaign, outcome, {left_out} FROM {{submit_runs}} ORDER BY started_at")
    assert first == ("spring", "partial", 1, 1, 0, 0, 0, 0, 1)
    every = " + ".join(f"left_out_{reason.value}" for reason in LeftOut)
    assert place.sql(f"SELECT COUNT(*) FROM {{submit_runs}} WHERE rows_read = searches + {every}") == [(4,)]
    joined = "SELECT COUNT(*) FROM {submit_runs} JOIN {account_credits} ON run_id = submit_id"
    assert place.sql(joined) == [(3,)]


def test_a_run_that_another_one_keeps_waiting(duck: Place) -> None:
    """What is left out is null where the run ended before it knew."""
    duck.submit([row(1)])
    duck.sql("UPDATE {submission_lease} SET holder = 'elsewhere:1:ab', held_until = now() + INTERVAL 1 HOUR")
    stop = Event()
    stop.set()
    duck.submit([row(2), row(3)], stop=stop)
    assert runs(duck)[-1] == (2, None, 0, 0, 0, 1, None)
    assert duck.sql("SELECT left_out_found FROM {submit_runs} ORDER BY started_at")[-1] == (None,)


def test_a_dataset_of_an_earlier_version(duck: Place) -> None:
    """A table that is missing is made by the next run."""
    duck.submit([row(1)])
    duck.sql("DROP TABLE {submit_runs}")
    duck.submit([row(1)])
    assert runs(duck) == [(1, 0, 0, 0, 0, 0, None)]
