"""`refetch`: a batch that is loaded for good is fetched again where it is named, and replaced."""

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source.cli.run import main
from enrow_source.runner.report import ExitCode
from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.conftest import Load
from tests.support.warehouse import Warehouse


def test_what_is_named_is_replaced(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> None:
    """The rows are those of the new answer; when the batch was first seen stays."""
    later = bodies.completed("a", 2)
    api.respond("a", bodies.completed("a", 5), later, bodies.completed("a", 0))
    load(["a", api.add_completed("b", 3)])
    first_seen = warehouse.sql("SELECT first_seen_at FROM batches ORDER BY batch_id")
    assert load(["a"], refetch=True).fetched == 1
    counts = "SELECT batch_id, count(*) FROM phone_results GROUP BY ALL ORDER BY 1"
    assert warehouse.sql(counts) == [("a", 2), ("b", 3)]
    assert load(["a"], refetch=True).fetched == 1
    assert warehouse.sql(counts) == [("b", 3)]
    assert warehouse.sql("SELECT first_seen_at FROM batches ORDER BY batch_id") == first_seen
    assert load(["a", "b"]).fetched == 0
    assert [api.fetches(batch_id) for batch_id in "ab"] == [3, 1]


@pytest.mark.slow
def test_what_has_expired_since_stays(api: SimulatedEnrow, warehouse: Warehouse, load: Load) -> None:
    """An error replaces nothing, and later runs do not ask again."""
    api.respond("a", bodies.completed("a", 5), Response.unreadable())
    load(["a"])
    assert load(["a"], refetch=True).exit_code == ExitCode.PARTIAL
    assert load(["a"]).fetched == 0
    assert warehouse.sql("SELECT count(*) FROM phone_results") == [(5,)]


def test_it_needs_a_name(load: Load) -> None:
    """Nobody means all that was ever loaded."""
    with pytest.raises(PipelineStepFailed, match="refetch is set, and no id is named"):
        load([], refetch=True)


@pytest.mark.usefixtures("held_open")
def test_the_command(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    arguments = [api.add_completed("a", 1), "--base-url", api.url]
    assert [main(arguments), main([*arguments, "--refetch"])] == [ExitCode.OK, ExitCode.OK]
    assert api.fetches("a") == 2
