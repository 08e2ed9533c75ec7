"""Validation of batch ids: one rule, wherever they come from."""

import io
import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enrow_source import ConfigurationError, InvalidBatchIdError, batch_ids_from_files
from enrow_source.ids.formats import read_file
from enrow_source.ids.input import read_batch_ids
from enrow_source.ids.validate import InvalidEntry, batch_id_of, id_or_error, is_header

UUID = uuid.UUID("e3b61122-d6a6-4ea7-b331-9b734682a76a")

REFUSED = [
    "a b",
    "a\tb",
    "a\rb",
    "a\u2028b",
    "a\u200bb",
    "a\0b",
    'a"b',
    "a'b",
    "`a",
    "\u201ca\u201d",
    "a,b",
    "a;b",
    "a|b",
]
REFUSED += ["{a}", "<a>", "[a]", "a\\b", "a" * 256, "---", "", "a\udcffb", "a\ufffdb", "ENROW_API_KEY=made-up"]


@pytest.mark.parametrize("text", REFUSED)
def test_no_place_takes_what_is_no_id(text: str, tmp_path: Path) -> None:
    """In a list it is an error before anything runs; elsewhere it is reported, and the rest is read."""

    @dlt.resource(name="submitted")
    def submitted() -> Iterator[Any]:
        yield text
        yield {"batch_id": text}
        yield pa.table({"id": ["fine", text.replace("\udcff", "\0")]})

    with pytest.raises(InvalidBatchIdError, match=r"batch_ids\[1\] is "):
        read_batch_ids(["fine", text])
    read = read_batch_ids(submitted).read()
    assert (read.ids, len(read.invalid)) == (("fine",), 3)
    (tmp_path / "x.jsonl").write_text(json.dumps({"id": text}) + '\n{"id": "fine"}\n')
    read = read_batch_ids([batch_ids_from_files("x.jsonl")]).read()
    assert (read.ids, len(read.invalid)) == (("fine",), 1)
    assert "made-up" not in read.invalid[0]


@pytest.mark.parametrize(
    "value,batch_id",
    [
        (UUID, str(UUID)),
        (UUID.bytes, str(UUID)),
        (str(UUID).encode(), str(UUID)),
        (memoryview(b"0123456789abcdef"), "0123456789abcdef"),
        (17, "17"),
        (np.int64(17), "17"),
        (np.str_("a"), "a"),
        (Decimal("17.0"), "17"),
        (pa.scalar("a"), "a"),
        (" a\n", "a"),
        ("\ufeffa", "a"),
        ({"Batch ID": "a"}, "a"),
        ({"batchId": "a", "id": "b"}, "a"),
        ({"id": "b", "bulk_id": "a"}, "a"),
        ({"id": "id"}, "id"),
    ],
)
def test_an_id_is_its_text(value: Any, batch_id: str) -> None:
    assert batch_id_of(value, "here") == batch_id


@pytest.mark.parametrize(
    "value", [None, True, 1.5, float("nan"), Decimal("1.5"), b"\xff", [], object(), pa.scalar(None)]
)
def test_a_value_of_another_type_is_refused(value: Any) -> None:
    assert isinstance(id_or_error(value, "here"), InvalidEntry)


@pytest.mark.parametrize("name", ["Batch ID", "batchId", "BATCH_ID", "bulk_id", "bulkId", "id", "Id", "batch-id"])
def test_a_header_is_no_id(name: str) -> None:
    """However it is spelled, in any place."""
    with pytest.raises(InvalidBatchIdError, match="the name of a column"):
        read_batch_ids([name])
    for file_name in ("x.txt", "x.csv"):
        assert list(read_file(io.BytesIO(f"{name}\na\n{name}\nb\n".encode()), "x", file_name)) == ["a", "b"]
        table = f"when,{name}\n1,a\nwhen,{name}\n2,b\n".encode()
        assert list(read_file(io.BytesIO(table), "x", file_name)) == ["a", "b"]
    assert list(read_batch_ids([{name: "a"}])) == ["a"]  # type: ignore[list-item]


def test_one_rule_for_parquet_arrow_pandas_and_polars(tmp_path: Path) -> None:
    values = [UUID.bytes, b"abc", None]
    table = pa.table({"other": ["x"] * 3, "Batch Id": values})
    pq.write_table(table, tmp_path / "ids.parquet")
    expected = ((str(UUID), "abc"), 1)
    for source in (table, table.to_batches()[0], table["Batch Id"]):
        resource = dlt.resource(iter([source]), name="submitted")
        read = read_batch_ids(resource).read()
        assert (read.ids, len(read.invalid)) == expected
    read = read_batch_ids([batch_ids_from_files("ids.parquet")]).read()
    assert (read.ids, len(read.invalid)) == expected
    assert list(read_batch_ids(table.slice(0, 2))) == list(expected[0])


class Frame:
    """A table as pandas and polars have it: columns by name, each a list of values."""

    def __init__(self, **columns: list[Any]) -> None:
        self.columns = list(columns)
        self._values = columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return np.array(self._values[name], dtype=object)


def test_a_frame_is_read_by_its_column() -> None:
    """Iterated, a frame gives the names of its columns."""
    frame: Any = Frame(name=["x", "y"], bulk_id=["a", 17])
    assert list(read_batch_ids(frame)) == ["a", "17"]
    with pytest.raises(ConfigurationError, match="batch_ids has no column batch_id, bulk_id or id, but name"):
        read_batch_ids(Frame(name=["x"]))


ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(ids)
@example("A" * 255)
@example("%00")
def test_the_gate_takes_an_id_twice_alike(text: str) -> None:
    """What it lets through is trimmed, printable and without what separates ids; and it takes that as it is."""
    entry = id_or_error(text, "here")
    if isinstance(entry, str):
        assert entry == entry.strip()
        assert entry.isprintable()
        assert not set(entry) & set(" ,;|\"'`<>{}[]")
        assert id_or_error(entry, "there") == entry


@given(st.lists(ids))
def test_a_text_file_loses_nothing_in_silence(texts: list[str]) -> None:
    """Each line is an id, a report, or one of those that hold none."""
    lines = [text for text in texts if len(text.splitlines()) == 1 and not any(c in text for c in "\"'#,;|/-\t=*_+:")]
    content = "\n".join(lines).encode()
    entries = list(read_file(io.BytesIO(content), "x", "x.txt"))
    if len(entries) == 1 and isinstance(entries[0], InvalidEntry) and "no list of batch ids" in entries[0].message:
        return
    assert len(entries) == len([line for line in lines if line.strip() and not is_header(line)])


@given(
    st.lists(st.uuids().map(str), min_size=1, max_size=20), st.sampled_from(["utf-8-sig", "utf-16", "utf-32", "utf-8"])
)
def test_any_encoding_gives_the_same_ids(texts: list[str], encoding: str) -> None:
    for lines in (texts, ["id;when", *(f"{text};1" for text in texts)], [json.dumps({"id": text}) for text in texts]):
        assert list(read_file(io.BytesIO("\r\n".join(lines).encode(encoding)), "x")) == texts


@given(st.binary(max_size=200), st.sampled_from(["x.txt", "x.csv", "x.json", "x", "x.tsv"]))
def test_any_bytes_are_ids_or_reports(content: bytes, name: str) -> None:
    """Whatever a file holds ends no run."""
    for entry in read_file(io.BytesIO(content), "x", name):
        assert not isinstance(entry, str) or id_or_error({"id": entry}, "") == entry
