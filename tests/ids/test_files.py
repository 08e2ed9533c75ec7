"""Batch ids from files: every format, and what is wrong with one."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrow_source import ConfigurationError
from enrow_source.testing import SimulatedEnrow
from tests.conftest import NewSource
from tests.ids.written import read
from tests.support.warehouse import Warehouse

FINISHED = {"event": "bulk_phone_search_finished", "id": "a", "credits": {"cost": 40}}
OTHER = {"event": "bulk_email_search_finished", "id": "not-of-phones"}


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def parquet(path: Path, **columns: list[Any]) -> None:
    pq.write_table(pa.table(columns), path)


@pytest.mark.parametrize(
    "name,content",
    [
        ("ids.txt", b"a\nb\n"),
        ("ids.txt", b"\xef\xbb\xbfa\r\n\r\n  b  \r\na\r\n"),
        ("ids", b"a\nb"),
        ("ids.csv", b"a\nb\n"),
        ("ids.csv", b"batch_id\na\nb\n"),
        ("ids.csv", b'\xef\xbb\xbfsubmitted,"Batch_ID"\r\n2026-01-01,a\r\n"1,2","b"\r\n'),
        ("ids.csv", b"id;when\na;1\nb;2\n"),
        ("ids.tsv", b"when\tid\n1\ta\n2\tb\n"),
        ("ids.jsonl", lines("a", "b")),
        ("ids.jsonl", lines({"batch_id": "a", "id": "17"}, {"id": "b"})),
        ("ids.json", b'[{"id": "a"}, {"id": "b"}]'),
        ("ids.json", b'[\n  "a",\n  "b"\n]\n'),
        ("events.jsonl", lines(OTHER, FINISHED, {"event": "email_search_finished"}, FINISHED | {"id": "b"})),
        ("events", lines(FINISHED, OTHER, FINISHED | {"id": "b"})),
        ("ids.txt.gz", gzip.compress(b"a\nb\n", mtime=0)),
        ("events.jsonl.gz", gzip.compress(lines(FINISHED, OTHER, {"id": "b"}), mtime=0)),
    ],
)
def test_a_file_of_ids(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read(str(tmp_path / name)) == (["a", "b"], [])


def test_a_parquet_file(tmp_path: Path) -> None:
    parquet(tmp_path / "ids.parquet", when=[1, 2], batch_id=["a", "b"])
    assert read("ids.parquet") == (["a", "b"], [])


def test_a_webhook_event_is_a_file_of_its_own(tmp_path: Path) -> None:
    for number, event in enumerate([FINISHED, OTHER, FINISHED | {"id": "b"}]):
        (tmp_path / f"{number}.json").write_text(json.dumps(event, indent=2), encoding="utf-8")
    ids, invalid = read(f"{tmp_path}/*.json")
    assert (sorted(ids), invalid) == (["a", "b"], [])


def test_several_places_at_once(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "one.txt").write_text("a")
    (tmp_path / "deep" / "er" / "two.csv").write_text("b")
    (tmp_path / "deep" / "three [1].txt").write_text("c")
    assert read("one.txt", "deep", "deep/three [1].txt", f"file://{tmp_path}/o*.txt") == (["a", "c", "b"], [])


@pytest.mark.parametrize(
    "name,content,ids,invalid",
    [
        ("x.jsonl", lines("a") + b'{"id": "no\n' + lines("b"), ["a", "b"], ["x.jsonl:2 is no JSON"]),
        ("x.jsonl", b"\x00\xff{\n" + lines("b"), ["b"], ["x.jsonl:1 is no JSON"]),
        (
            "x.json",
            b'{"event": "bulk_phone_search_finished", "id":',
            [],
            ["x.json:1 has no end yet: the next run reads it"],
        ),
        ("x.json", b'{"event": "bulk_phone_search_finished"}', [], ["x.json:1 has no batch_id, bulk_id or id"]),
        ("x.jsonl", lines({"id": 1.5}, "a"), ["a"], ["x.jsonl:1 is 1.5, which is no batch id"]),
        ("x.csv", b"when,number\n1,2\n", [], ["x.csv has no column batch_id, bulk_id or id, but when, number"]),
        ("x.csv", b"id,when\n,1\na,2\n", ["a"], ["x.csv:2 is '': a batch id cannot be empty"]),
        ("x.csv", b"when,id\n1\n2,a\n", ["a"], ["x.csv:2 is '': a batch id cannot be empty"]),
        ("x.txt", b"a\n\xff\xfe\nb\n", ["a", "b"], ["x.txt:2 is '\\udcff\\udcfe': it is not UTF-8"]),
        ("x.txt.gz", gzip.compress(b"a\n" * 9, mtime=0)[:-9], [], ["x.txt.gz is not readable: EOFError"]),
        ("x.txt.gz", b"no gzip", [], ["x.txt.gz is not readable: BadGzipFile"]),
        ("x.parquet", b"PAR1 and no more", [], ["x.parquet is not readable: ArrowInvalid"]),
        ("x.txt", b"", [], []),
        ("x.csv", b"", [], []),
        ("x.json", b"", [], []),
    ],
)
def test_invalid_entries_are_reported(
    tmp_path: Path, name: str, content: bytes, ids: list[str], invalid: list[str]
) -> None:
    """Invalid entries are reported, and the rest is read."""
    (tmp_path / name).write_bytes(content)
    (tmp_path / "fine.txt").write_text("fine")
    found, message = read(name, "fine.txt")
    assert found == [*ids, "fine"]
    assert len(message) == len(invalid)
    for one, expected in zip(message, invalid, strict=True):
        assert expected in one


def test_a_file_that_is_named_must_be_there(new_source: NewSource, warehouse: Warehouse, api: SimulatedEnrow) -> None:
    with pytest.raises(Exception, match=r"there is no file .*missing\.txt"):
        warehouse.run(new_source(batch_ids_file=["missing.txt"]))
    with pytest.raises(ConfigurationError, match=r"there is no folder .*missing, in which"):
        warehouse.run(new_source(batch_ids_file=["missing/*.txt"]))
    assert api.requests == []
