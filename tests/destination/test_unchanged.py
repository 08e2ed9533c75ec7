"""An ongoing batch whose answer is what the tables have is not loaded again."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from enrow_source.testing import SimulatedEnrow, bodies
from tests.conftest import NewSource
from tests.support.store import DATASET, Store

pytest_plugins = ("tests.support.postgres", "tests.support.store")

TABLES = ("batches", "batch_stats", "phone_results_ledger")
ONGOING = bodies.ongoing("a", 9, 3)


def fetched(store: Store) -> list[tuple[Any, ...]]:
    """When the batch was fetched, and by which load, in each table."""
    return [row for t in TABLES for row in store.sql(f"SELECT fetched_at, _dlt_load_id FROM {DATASET}.{t}")]


def loads(store: Store) -> list[tuple[Any, ...]]:
    return store.sql(f"SELECT load_id FROM {DATASET}._dlt_loads")


@pytest.mark.parametrize("options", [{}, {"pii": "hash", "pii_secret": "sixteen characters"}], ids=["keep", "hash"])
def test_the_same_answer_makes_no_load(
    api: SimulatedEnrow, new_source: NewSource, store: Store, options: dict[str, Any]
) -> None:
    """Its rows stay and say when it was last fetched; without its working folder a run knows it, too."""
    body = copy.deepcopy(ONGOING)
    body["general"] |= {"custom": {"campaign": "spring"}, "region": "eu"}
    body["stats"]["queued"] = 6
    api.respond("a", body)
    store.run(new_source(["a"], **options))
    before, made = fetched(store), loads(store)
    assert len(before) == len(TABLES)
    for container in ("first", "second"):
        store.run(new_source(**options), container)
        after = fetched(store)
        assert {load_id for _, load_id in after} == {load_id for _, load_id in before}
        assert all(new > old for (new, _), (old, _) in zip(after, before, strict=True))
        assert len({at for at, _ in after}) == 1
        before = after
    assert (api.fetches("a"), loads(store)) == (3, made)


def changed(**stats: Any) -> Any:
    body = copy.deepcopy(ONGOING)
    body["stats"] |= stats
    return body


def with_general(**fields: Any) -> Any:
    body = copy.deepcopy(ONGOING)
    body["general"] |= fields
    return body


@pytest.mark.parametrize(
    "body,question",
    [
        (changed(finished=4), ("finished", "batch_stats", 4)),
        (changed(queued=5), ("queued", "batch_stats", "5")),
        (with_general(status="paused"), ("status", "batches", "paused")),
        (with_general(custom="x"), ("custom", "batches", '"x"')),
        (bodies.completed("a", 2), ("results_loaded", "phone_results_ledger", 2)),
    ],
    ids=["value", "field", "status", "custom", "completed"],
)
def test_another_answer_is_loaded(
    api: SimulatedEnrow, new_source: NewSource, store: Store, body: Any, question: tuple[str, str, object]
) -> None:
    column, table, found = question
    api.respond("a", ONGOING, body)
    store.run(new_source(["a"]))
    store.run(new_source())
    assert store.sql(f"SELECT {column} FROM {DATASET}.{table}") == [(found,)]


HARM: list[tuple[str, Callable[[Store], object]]] = [
    ("twice", lambda store: store.sql(f"INSERT INTO {DATASET}.batch_stats SELECT * FROM {DATASET}.batch_stats")),
    ("altered", lambda store: store.sql(f"UPDATE {DATASET}.batch_stats SET requested = 1")),
    ("one lost", lambda store: store.sql(f"DELETE FROM {DATASET}.batch_stats")),
    ("restored", lambda store: store.sql(f"ALTER TABLE {DATASET}.batches DROP COLUMN region")),
]


@pytest.mark.parametrize("harm", [harm for _, harm in HARM], ids=[name for name, _ in HARM])
def test_rows_that_differ_are_loaded_again(
    api: SimulatedEnrow, new_source: NewSource, store: Store, harm: Callable[[Store], object]
) -> None:
    """A restored warehouse may lack a column that the working folder knows."""
    api.respond("a", with_general(region="eu"), ONGOING)
    store.run(new_source(["a"]))
    harm(store)
    store.run(new_source(["a"]))
    assert store.sql(f"SELECT batch_id, requested FROM {DATASET}.batch_stats") == [("a", 9)]


def test_a_refresh_loads_it(api: SimulatedEnrow, new_source: NewSource, store: Store) -> None:
    api.respond("a", ONGOING)
    store.run(new_source(["a"]))
    store.run(new_source(["a"]), refresh="drop_data")
    assert store.counts("batches") == store.counts("batch_stats") == {"a": 1}


def test_without_a_state_it_is_loaded_again(api: SimulatedEnrow, new_source: NewSource, store: Store) -> None:
    """A killed first load leaves tables, and no state that a new container could have their schema from."""
    api.respond("a", ONGOING)
    store.run(new_source(["a"]))
    store.sql(f"DELETE FROM {DATASET}._dlt_pipeline_state")
    store.run(new_source(["a"]), "second")
    assert store.counts("batches") == store.counts("batch_stats") == {"a": 1}
    assert len(loads(store)) == 2
