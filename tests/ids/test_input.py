"""Batch ids: from whatever they come, trimmed, each once, in order; a bad one is an error that shows it."""

from collections.abc import Iterable, Iterator
from typing import Any

import dlt
import pytest

from enrow_source import ConfigurationError, InvalidBatchIdError
from enrow_source.ids.input import read_batch_ids
from enrow_source.testing import SimulatedEnrow
from tests.conftest import NewSource
from tests.support.warehouse import Warehouse


def resource(*items: Any) -> Any:
    """Make a resource that yields the items, each as a page of its own."""

    @dlt.resource(name="submitted")
    def submitted() -> Iterator[Any]:
        yield from items

    return submitted


@pytest.mark.parametrize(
    "batch_ids",
    [
        ["b", "a"],
        ("b", "a"),
        (batch_id for batch_id in "ba"),
        iter(["b", "a"]),
        {"b": 1, "a": 2}.keys(),
        [{"id": "b"}, {"batch_id": "a"}],
        [{"batch_id": "b", "id": "17"}, "a"],
        resource("b", "a"),
        resource({"id": "b", "credits_used": 40}, {"batch_id": "a"}),
        resource(["b", {"id": "a"}]),
        resource(["b"], [], ["a"]),
        dlt.resource(["b", "a"], name="listed"),
    ],
    ids=[
        "list",
        "tuple",
        "generator",
        "iterator",
        "keys",
        "dicts",
        "batch_id before id",
        "resource of strings",
        "resource of dicts",
        "resource of a page",
        "resource of pages",
        "resource of a list",
    ],
)
def test_ids_come_in_the_order_given(batch_ids: Iterable[Any]) -> None:
    assert list(read_batch_ids(batch_ids)) == ["b", "a"]


def test_a_set_gives_each_of_its_ids() -> None:
    assert sorted(read_batch_ids({"b", "a"})) == ["a", "b"]


@pytest.mark.parametrize("batch_ids", [[], (), resource()], ids=["list", "tuple", "resource"])
def test_no_ids_are_no_error(batch_ids: Iterable[Any]) -> None:
    assert list(read_batch_ids(batch_ids)) == []


@pytest.mark.parametrize("wrap", [list, lambda items: resource(*items)], ids=["list", "resource"])
def test_ids_are_trimmed_and_deduplicated(wrap: Any) -> None:
    """Ids are trimmed, and each is kept where it came first."""
    items = [" b\n", "a", "b", {"id": "\ta "}, "B", "c\u00a0"]
    assert list(read_batch_ids(wrap(items))) == ["b", "a", "B", "c"]


@pytest.mark.parametrize("batch_id", ["../", "a&id=b", "%00", "ü", "😀", "0", "None", "a/b=="])
def test_an_id_is_opaque(batch_id: str) -> None:
    assert list(read_batch_ids([batch_id])) == [batch_id]


BAD_ITEMS: list[tuple[Any, str]] = [
    ("", "batch_ids[1] is '': a batch id cannot be empty"),
    (" \n", "batch_ids[1] is '': a batch id cannot be empty"),
    (None, "batch_ids[1] is None, which is no batch id"),
    (1.5, "batch_ids[1] is 1.5, which is no batch id"),
    (True, "batch_ids[1] is True, which is no batch id"),
    (["a"], "batch_ids[1] is ['a'], which is no batch id"),
    ({"batch": "a", "x": 1}, "batch_ids[1] has no batch_id, bulk_id or id, but 'batch', 'x'"),
    ({}, "batch_ids[1] has no batch_id, bulk_id or id, but no keys"),
    ({"id": None}, "batch_ids[1] is None, which is no batch id"),
    ({"batch_id": "", "id": "a"}, "batch_ids[1] is '': a batch id cannot be empty"),
    ({"id": []}, "batch_ids[1] is [], which is no batch id"),
    ("a\ud800", "batch_ids[1] is 'a\\ud800': a batch id has no control characters"),
    ("a\0b", "batch_ids[1] is 'a\\x00b': a batch id has no control characters"),
]


@pytest.mark.parametrize("item,message", BAD_ITEMS)
def test_a_bad_id_is_shown_with_its_position(item: Any, message: str) -> None:
    with pytest.raises(InvalidBatchIdError) as caught:
        read_batch_ids(["fine", item])
    assert str(caught.value) == message


def test_a_long_bad_id_is_shown_in_part() -> None:
    with pytest.raises(InvalidBatchIdError) as caught:
        read_batch_ids([list(range(10_000))])  # type: ignore[list-item]
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "batch_ids,shown",
    [
        ("e3b61122", "batch_ids is a str ('e3b61122'): pass a list of ids"),
        (b"e3b61122", "batch_ids is a bytes (b'e3b61122'): pass a list of ids"),
        (None, "batch_ids is a NoneType (None): pass a list of ids"),
        (17, "batch_ids is a int (17): pass a list of ids"),
        ({"id": "a"}, "batch_ids is a dict ({'id': 'a'}): pass a list of ids"),
    ],
)
def test_what_is_no_list_of_ids_is_shown(batch_ids: Any, shown: str) -> None:
    with pytest.raises(InvalidBatchIdError) as caught:
        read_batch_ids(batch_ids)
    assert str(caught.value).startswith(shown)


def test_bad_id_in_a_list_fails_before_the_run(api: SimulatedEnrow, new_source: NewSource) -> None:
    """A bad id in a list is an error before anything runs."""
    with pytest.raises(ConfigurationError, match=r"batch_ids\[1\] is None"):
        new_source(["a", None])
    assert api.requests == []


def test_a_bad_id_in_a_resource_is_left_out(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """It costs the run nothing but itself: the resource may not yield the others again."""
    api.add_completed("a", 1)
    warehouse.run(new_source(resource("a", 1.5)))
    assert [batch["batch_id"] for batch in warehouse.rows("batches")] == ["a"]
    assert read_batch_ids(resource("a", 1.5)).read().invalid == ("submitted[1] is 1.5, which is no batch id",)


def test_resource_is_read_for_each_run() -> None:
    """A resource is read again for each run."""
    submitted = ["a"]
    ids = read_batch_ids(resource(submitted))
    assert list(ids) == ["a"]
    submitted.append("b")
    assert list(ids) == ["a", "b"]
