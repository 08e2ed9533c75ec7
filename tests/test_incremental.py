"""What the next run fetches: nothing that is complete, everything that is pending or was dropped on purpose."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enrow_source.testing import SimulatedEnrow, bodies
from tests.conftest import NewSource
from tests.support.contents import completed, contents, fetches
from tests.support.warehouse import Warehouse


def test_the_second_run_fetches_nothing(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    source = [api.add_completed("a", 2), api.add_completed("empty", 0), api.add_failed("failed")]
    warehouse.run(new_source(source))
    requests = len(api.requests)
    warehouse.run(new_source(source))
    assert (requests, len(api.requests)) == (3, 3)
    assert warehouse.sql("SELECT batch_id, status FROM batches ORDER BY 1") == [
        ("a", "completed"),
        ("empty", "completed"),
        ("failed", "failed"),
    ]


@pytest.mark.parametrize("status,given", [pytest.param(200, True, marks=pytest.mark.slow), (202, False)])
def test_ongoing_completes_with_or_without_its_id(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, status: Any, given: bool
) -> None:
    """An ongoing batch is recorded and completes whether or not its id is given."""
    api.add_ongoing("a", 1, 3, status=status)
    warehouse.run(new_source(["a"]))
    assert warehouse.sql("SELECT batch_id, status, requested, finished FROM batch_stats") == [("a", "ongoing", 3, 0)]
    assert warehouse.rows("phone_results") == []
    warehouse.run(new_source(["a"] if given else []))
    assert (contents(warehouse), api.fetches("a")) == (completed(a=3), 2)


def test_a_status_that_nobody_documented_stays_pending(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    paused = bodies.completed("a", 3)
    paused["general"]["status"] = "paused"
    api.respond("a", paused, bodies.completed("a", 3))
    warehouse.run(new_source(["a"]))
    assert warehouse.sql("SELECT status FROM batches") == [("paused",)]
    assert warehouse.rows("phone_results") == []
    warehouse.run(new_source())
    assert (contents(warehouse), api.fetches("a")) == (completed(a=3), 2)


def test_failed_is_final_unless_retried(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """`failed` is final unless `retry_failed` is set."""
    api.respond("a", bodies.failed("a"), bodies.completed("a", 2))
    for _ in range(2):
        warehouse.run(new_source(["a"]))
    assert (api.fetches("a"), warehouse.sql("SELECT status FROM batches")) == (1, [("failed",)])
    warehouse.run(new_source(retry_failed=True))
    assert (contents(warehouse), api.fetches("a")) == (completed(a=2), 2)


@pytest.mark.slow
def test_first_one_table_and_later_all_of_them(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    api.add_completed("a", 2)
    api.add_ongoing("b", 1, 3)
    warehouse.run(new_source(["a", "b"]).with_resources("batches"))
    assert (warehouse.tables(), fetches(api, "ab")) == ({"batches"}, [1, 1])
    warehouse.run(new_source(["a", "b"]))
    assert (contents(warehouse), fetches(api, "ab")) == (completed(a=2, b=3), [2, 2])


@pytest.mark.slow
def test_pending_in_a_table_left_out(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """A batch is fetched again when it is ongoing in a table that an earlier run left out."""
    api.add_ongoing("a", 1, 3)
    warehouse.run(new_source(["a"]))
    warehouse.run(new_source().with_resources("batches"))
    warehouse.run(new_source())
    assert (contents(warehouse), api.fetches("a")) == (completed(a=3), 3)


def test_empty_batch_counts_as_loaded(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """A batch without results counts as loaded for `phone_results` alone."""
    api.add_completed("empty", 0)
    for container in ("first", "second"):
        warehouse.run(new_source(["empty"]).with_resources("phone_results"), container)
    assert (warehouse.rows("phone_results"), api.fetches("empty")) == ([], 1)


@pytest.mark.slow
def test_batch_can_shrink_when_loaded_again(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """A batch that is loaded again can have fewer results."""
    api.respond("a", bodies.completed("a", 3), bodies.completed("a", 2))
    warehouse.run(new_source(["a"]))
    assert contents(warehouse) == completed(a=3)
    warehouse.sql("UPDATE _dlt_loads SET status = 1")  # as that of a load which was not completed
    warehouse.run(new_source(["a"]))
    assert (contents(warehouse), api.fetches("a")) == (completed(a=2), 2)


def test_no_state_grows_with_the_number_of_batches(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    pipeline = warehouse.pipeline()
    sizes = []
    for count in (3, 300):
        pipeline.run(new_source([api.add_completed(f"{count}-{number}", 1) for number in range(count)]))
        stored = warehouse.sql("SELECT count(*), sum(octet_length(encode(state))) FROM _dlt_pipeline_state")
        sizes.append((stored, len((Path(pipeline.working_dir) / "state.json").read_bytes())))
    assert len(warehouse.rows("batches")) == 303
    (few, few_local), (many, many_local) = sizes
    assert many == few
    assert abs(many_local - few_local) < 100


@pytest.fixture
def loaded(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> Iterator[Warehouse]:
    """A warehouse that holds the batches a, b and c."""
    warehouse.run(new_source([api.add_completed(batch_id, 2) for batch_id in "abc"]))
    assert fetches(api, "abc") == [1, 1, 1]
    yield warehouse
    warehouse.run(new_source(["a", "b", "c"]))
    assert contents(warehouse) == completed(a=2, b=2, c=2)


@pytest.mark.parametrize(
    "refresh",
    ["drop_sources", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("drop_resources", "drop_data"))],
)
def test_refresh_loads_the_given_ids_again(
    api: SimulatedEnrow, new_source: NewSource, loaded: Warehouse, refresh: str
) -> None:
    """A refresh loads all given ids again."""
    loaded.run(new_source(["a", "b"]), refresh=refresh)
    assert (contents(loaded), fetches(api, "abc")) == (completed(a=2, b=2), [2, 2, 1])


def test_refresh_of_one_table_keeps_the_others(api: SimulatedEnrow, new_source: NewSource, loaded: Warehouse) -> None:
    """A refresh of the results alone leaves the other tables."""
    loaded.run(new_source(["a"]).with_resources("phone_results"), refresh="drop_resources")
    assert contents(loaded) == completed(a=2, b=2, c=2) | {
        table: completed(a=2)[table] for table in ("phone_results", "phone_results_ledger")
    }
    assert fetches(api, "abc") == [2, 1, 1]


def test_replace_loads_the_given_ids_again(api: SimulatedEnrow, new_source: NewSource, loaded: Warehouse) -> None:
    """`replace` for the run loads all given ids again."""
    loaded.run(new_source(["a", "b"]), write_disposition="replace")
    assert (contents(loaded), fetches(api, "abc")) == (completed(a=2, b=2), [2, 2, 1])


def test_replace_of_one_table_keeps_the_others(api: SimulatedEnrow, new_source: NewSource, loaded: Warehouse) -> None:
    """`replace` for the results alone leaves the other tables."""
    source = new_source(["a"])
    source.resources["phone_results"].apply_hints(write_disposition="replace")
    loaded.run(source)
    assert contents(loaded) == completed(a=2, b=2, c=2) | {
        table: completed(a=2)[table] for table in ("phone_results", "phone_results_ledger")
    }
    assert fetches(api, "abc") == [2, 1, 1]
