"""Files of ids as people have them: what is read, and what is refused with its place."""

import base64
import io
import json
from typing import Any

import pytest

from enrow_source.ids.formats import read_file
from enrow_source.ids.validate import InvalidEntry, SkippedEvent

FINISHED = {"event": "bulk_phone_search_finished", "id": "A1", "credits": {"cost": 40}}
SECOND = FINISHED | {"id": "B1"}
OTHER = {"event": "bulk_email_search_finished", "id": "of-emails"}


def read(content: str | bytes, name: str = "x.txt", *, is_growing: bool = False) -> tuple[list[str], list[str]]:
    """Return the ids and the reports of a file."""
    raw = content.encode() if isinstance(content, str) else content
    entries = list(read_file(io.BytesIO(raw), name, name, is_growing=is_growing))
    reports = [entry.message for entry in entries if isinstance(entry, InvalidEntry)]
    return [entry for entry in entries if isinstance(entry, str)], reports


@pytest.mark.parametrize(
    "content,name",
    [
        ("A1\rB1", "x.txt"),
        ("Batch ID\nA1\nB1\n", "x.txt"),
        ('"A1",\n"B1",\n', "x.txt"),
        ("# of March\nA1  # first\n\n// more\nB1 // second\n-- end\n", "x.txt"),
        ("| batch_id | status |\n|----------|--------|\n| A1 | ok |\n| B1 | ok |\n", "x.txt"),
        (" batch_id \n----------\n A1\n B1\n(2 rows)\n", "x.txt"),
        ("sep=;\nid;n\nA1;1\nB1;2\n", "x.csv"),
        ("name|bulk_id\nx|A1\ny|B1\n", "x.csv"),
        ('name,batchId\n"x, ""y""\nz",A1\nw,B1\n', "x.csv"),
        ("A1\nB1\n".encode("utf-16"), "x.txt"),
        ("A1\nB1\n".encode("utf-16-be"), "x.txt"),
        (json.dumps([FINISHED, SECOND]).encode("utf-16"), "x.json"),
        (json.dumps(FINISHED) + json.dumps(SECOND), "x.json"),
        (json.dumps(FINISHED) + json.dumps(SECOND), "x"),
        (f"\x1e{json.dumps(FINISHED)}\n\x1e{json.dumps(SECOND)}\n", "x.jsonl"),
        (f"{json.dumps(FINISHED, indent=1)}\n{json.dumps(SECOND, indent=1)}", "x.json"),
        (f"{json.dumps(FINISHED)},{json.dumps(SECOND)},", "x.json"),
    ],
)
def test_files_that_are_read_whole(content: str | bytes, name: str) -> None:
    assert read(content, name) == (["A1", "B1"], [])


@pytest.mark.parametrize(
    "content,name,kind",
    [
        (b"PK\x03\x04", "ids.xlsx", "a .xlsx file"),
        (b"PK\x03\x04 and more", "ids.txt", "a ZIP archive or a workbook"),
        (b"\x89PNG\r\n\x1a\n", "ids", "an image"),
        (b"A1", "NOTES.md", "a .md file"),
        (b"A1", ".env", "a hidden file"),
        (b"A1", "prod.env", "a .env file"),
        (b"A1", "README", "a file README"),
        (b"<html><body>", "ids.txt", "XML or HTML"),
        (b"\x01\x02\x03\x04", "ids.csv", "a binary file"),
        (b"HOST=a\nPASSWORD=b\n", "ids.txt", "a file of settings"),
        (b"How to use it\n\nPut all ids here.\nOne on each line please.\nThanks\n", "ids.txt", "a text of sentences"),
        (b"-----BEGIN PRIVATE KEY-----\n", "ids", "a key or certificate"),
    ],
)
def test_what_is_no_list_of_ids_is_refused(content: bytes, name: str, kind: str) -> None:
    """By name, as a whole: not one word of it goes to the API."""
    assert read(content, name) == ([], [f"{name} is {kind}, and no list of batch ids"])


@pytest.mark.parametrize(
    "content,name,ids,reports",
    [
        ("A1|ok\nB1\n", "x.txt", ["B1"], ["x.txt:1 has 2 columns, and no header names the one of the ids"]),
        ('id,name\nA1,x\n"B1,y\nC1,z\nD1,w\n', "x.csv", ["A1", "C1", "D1"], ["x.csv:3 has an unbalanced quote"]),
        ('id\nA1\n"B1\nC1\n"D1"\n', "x.csv", ["A1", "C1", "D1"], ["x.csv:3 has an unbalanced quote"]),
        ('id\nA1\n"B1\nC1"\nD1\n', "x.csv", ["A1", "D1"], ["x.csv:3 has an unbalanced quote", "x.csv:4 is"]),
        ('"A1\nB1\n', "x.txt", ["B1"], ["x.txt:1 has an unbalanced quote"]),
        ("A1\nPASSWORD=made-up\n", "x.txt", ["A1"], ["x.txt:2 is 'PASSWORD' with a value: it is a setting"]),
        ('{\n "event": "x",\n "id": "A1"\n', "x.json", [], [f"x.json:{n} is no JSON" for n in (1, 2, 3)]),
        ('"A1"\n{"id": "no\n"B1"\n', "x.jsonl", ["A1", "B1"], ["x.jsonl:2 is no JSON"]),
        ('["A1"] and more\n["B1"]', "x.json", ["A1", "B1"], ["x.json:1 is no JSON"]),
        ("A1\nB1", "x.json", [], ["x.json:1 is no JSON", "x.json:2 is no JSON"]),
    ],
)
def test_what_is_refused_has_a_place(content: str, name: str, ids: list[str], reports: list[str]) -> None:
    found, messages = read(content, name)
    assert found == ids
    assert len(messages) == len(reports)
    for message, report in zip(messages, reports, strict=True):
        assert message.startswith(report)
        assert "made-up" not in message


@pytest.mark.parametrize(
    "content,name,ids",
    [
        ("AAAA\nBBBB\nCC", "x.txt", ["AAAA", "BBBB"]),
        ("n,id\n1,AAAA\n2,BB", "x.csv", ["AAAA"]),
        ("id,n\nAAAA,1\nBB", "x.csv", ["AAAA"]),
        ('id\nAAAA\n"BBBB', "x.csv", ["AAAA"]),
        (json.dumps(FINISHED) + '\n{"event": "bulk_ph', "x.jsonl", ["A1"]),
    ],
)
def test_a_half_written_line_is_left(content: str, name: str, ids: list[str]) -> None:
    """Where the file is young; an old one has nothing to wait for."""
    found, reports = read(content, name, is_growing=True)
    assert found == ids
    assert [report.split(" ", 1)[1] for report in reports] == ["has no end yet: the next run reads it"]
    assert "no end yet" not in str(read(content, name))


@pytest.mark.parametrize("content", ["AAAA", "AAAA\nBBBB", "id,n\nAAAA,1\nBBBB,2", "AAAA\nBB\n"])
def test_a_last_line_without_an_end_is_read(content: str) -> None:
    """Many tools write none: it is left alone only where it seems cut off."""
    assert read(content, is_growing=True)[1] == []


def of(event: Any) -> str:
    return json.dumps(event)


@pytest.mark.parametrize(
    "document",
    [
        [{"event": {"body": FINISHED}}],
        {"id": "envelope", "body": of(FINISHED)},
        {"Type": "Notification", "MessageId": "envelope", "Message": of(FINISHED)},
        {"Records": [{"messageId": "envelope", "body": of({"Message": of(FINISHED)})}]},
        {"Records": [{"Sns": {"MessageId": "envelope", "Message": of(FINISHED)}}]},
        {"Records": [{"kinesis": {"data": base64.b64encode(of(FINISHED).encode()).decode()}}]},
        {"message": {"data": base64.b64encode(of(FINISHED).encode()).decode(), "messageId": "envelope"}},
        {"id": "envelope", "detail-type": "relayed", "detail": FINISHED},
        {"id": "envelope", "detail-type": "bulk_phone_search_finished", "detail": {"id": "A1"}},
        {"specversion": "1.0", "id": "envelope", "type": "relay", "data": FINISHED},
        {"id": "envelope", "event": "bulk_phone_search_finished", "data": {"id": "A1"}},
        {"headers": {"id": "x"}, "body": of(FINISHED), "data": {"note": 1}},
        of(FINISHED),
        {"message": "Bulk search operating", "id": "A1", "credits_used": 40},
        {"batch_id": "A1", "data": {"note": 1}},
    ],
)
def test_envelopes_are_opened(document: Any) -> None:
    """As relays, queues and gateways make them."""
    assert read(of(document), "x.json") == (["A1"], [])


@pytest.mark.parametrize(
    "document,report",
    [
        ({"id": "envelope", "body": None}, "x.json:1 is an envelope without an event"),
        ({"id": "envelope", "data": {"id": "inner"}}, "x.json:1, data is an envelope without an event"),
        ({"id": "envelope", "body": "no JSON"}, "x.json:1 is an envelope without an event"),
        ({"Records": [{"body": of(FINISHED)}, {"id": "x"}]}, "x.json:1, Records is an envelope without an event"),
        ({"event": {}, "id": "envelope"}, "x.json:1, event is an envelope without an event"),
        ({"event": "push", "id": "x"}, "x.json:1 is the event 'push', which is not known"),
        ({"event": "bulk_phone_search_started", "id": "x"}, "x.json:1 is the event 'bulk_phone_search_started'"),
        ({"data": ["x", "y"], "id": "envelope"}, "x.json:1, data is 'x', and no event"),
        ({"event": "bulk_phone_search_finished"}, "x.json:1 has no batch_id, bulk_id or id"),
    ],
)
def test_an_envelope_that_is_none_is_named(document: Any, report: str) -> None:
    """Its own id names no batch."""
    ids, reports = read(of(document), "x.json")
    assert set(ids) <= {"A1"}
    assert reports[0].startswith(report)


@pytest.mark.parametrize("name", ["bulk_email_search_finished", "email_verification.finished", "phone_search_finished"])
def test_an_event_of_another_product_is_passed_over(name: str) -> None:
    content = of({"body": of({"event": name, "id": "x"})}).encode()
    assert list(read_file(io.BytesIO(content), "x", "x.json")) == [SkippedEvent(name)]


@pytest.mark.parametrize("name", ["x.csv", "x.txt"])
def test_two_columns_of_ids(name: str, logged: pytest.LogCaptureFixture) -> None:
    """One was dropped in silence."""
    assert read("id,batch_id\n1,A1\n2,B1\n", name) == (["A1", "B1"], [])
    assert f"{name}: the batch ids are read from batch_id, and not from id" in logged.text


def test_two_columns_with_the_same_right() -> None:
    """Which one is meant, nobody can tell."""
    ids, reports = read("batch_id,batchId\nA1,B1\n", "x.csv")
    assert (ids, reports) == ([], ["x.csv has several columns batch_id and batchId: leave one, or name one batch_id"])
