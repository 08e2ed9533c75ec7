"""What may be in a recording: shapes and counts, neither a key nor people."""

import json
import re
from pathlib import Path
from typing import Any

import dlt
import pytest
import requests

from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.cassettes.record import (
    LIVE,
    UNKNOWN_ID,
    RecordingError,
    main,
    record_live,
    without_personal_data,
)
from tests.cassettes.replay import REPLAY, Interactions, answer, joined, load, rows, scrubbed

PERSONAL = {
    "general": {"id": "batch-1", "status": "completed", "custom": {"owner": "jane.doe@agency.example"}, "team": "Doe"},
    "stats": {
        "credits_cost": 120.5,
        "credits_to_refund": "40",
        "requested": 3,
        "found": 2,
        "billed_to": "+13035550187",
    },
    "results": [
        {
            "index": 0,
            "qualification": "found",
            "number": "+13035550187",
            "country": "US",
            "params": {
                "linkedin_url": "https://www.linkedin.com/in/dwight-schrute",
                "crm": {"mail": "doe@crm.example"},
            },
            "custom": "Jane Doe, row 17",
            "carrier": "Doe Mobile",
            "alternatives": ["+13035550188", {"number": 13035550189}],
        },
        {
            "index": "1",
            "qualification": "found",
            "number": "+13035550190",
            "country": "CA",
            "params": {"firstname": "Jane", "lastname": "Doe", "company_domain": "doe.example"},
            "custom": {"jane.doe@agency.example": "Jane"},
        },
        {
            "index": 2,
            "qualification": "not_found",
            "number": None,
            "country": None,
            "params": {"firstname": "Jane", "lastname": "Doe", "company_name": "Doe & Sons"},
            "verified": True,
        },
    ],
    "account": "Jane Doe",
}


def test_recorded_body_keeps_only_its_shape() -> None:
    """A recorded body keeps its shape and nothing personal."""
    assert scrubbed(PERSONAL) == {
        "general": {
            "id": "batch-1",
            "status": "completed",
            "custom": {"reference": "reference-0"},
            "team": "text-0",
        },
        "stats": {
            "credits_cost": 120.5,
            "credits_to_refund": "40",
            "requested": 3,
            "found": 2,
            "billed_to": "text-0",
        },
        "results": [
            {
                "index": 0,
                "qualification": "found",
                "number": "+12025550100",
                "country": "US",
                "params": {"linkedin_url": "https://www.linkedin.example/in/person-0", "crm": {"mail": "text-0"}},
                "custom": "text-0",
                "carrier": "text-0",
                "alternatives": ["text-0", {"number": 0}],
            },
            {
                "index": "1",
                "qualification": "found",
                "number": "+12025550101",
                "country": "CA",
                "params": {"firstname": "First1", "lastname": "Last1", "company_domain": "company-1.example"},
                "custom": {"reference": "reference-1"},
            },
            {
                "index": 2,
                "qualification": "not_found",
                "number": None,
                "country": None,
                "params": {"firstname": "First2", "lastname": "Last2", "company_name": "Company 2"},
                "verified": True,
            },
        ],
        "account": "text-0",
    }


@pytest.mark.parametrize(
    "body,kept",
    [
        ({"message": "Too Many Requests", "retry_after": 2}, {"message": "Too Many Requests", "retry_after": 2}),
        ({"message": "No batch of jane@doe.example"}, {"message": "No batch of ..."}),
        ({"message": "See https://doe.example/jane"}, {"message": "See ..."}),
        ({"message": "Not reachable: +1 (303) 555-0187"}, {"message": "Not reachable: ..."}),
        ({"message": {"to": "Jane"}, "retry_after": 13035550187}, {"message": {"to": "text-0"}, "retry_after": 0}),
        ({"general": "Jane", "stats": ["Doe"], "results": {"number": "+13035550187"}}, None),
        ({"general": {"id": 13035550187, "status": "Jane Doe"}, "results": ["Jane"]}, None),
        ({"results": [{"number": 13035550187, "params": "Jane Doe", "country": "Jane Doe", "index": "Doe"}]}, None),
        (["Jane Doe"], None),
        ("Jane Doe", None),
    ],
)
def test_unexpected_personal_data_is_scrubbed(body: Any, kept: Any) -> None:
    """Nothing personal is kept where it was not expected."""
    left = scrubbed(body)
    assert kept is None or left == kept
    assert not re.search("jane|doe|3035550187", json.dumps(left), re.IGNORECASE)


@pytest.mark.parametrize("body", [b"<html>Jane Doe</html>", b"\xff\xfe", b'{"number": '])
def test_what_is_not_json_is_not_kept(body: bytes) -> None:
    assert without_personal_data(answer(body))["body"]["string"] == b"(not JSON: taken out)"


def test_only_headers_that_tests_need_are_kept() -> None:
    headers = {"content-type": ["application/json"], "set-cookie": ["session=jane"], "retry-after": ["1"]}
    assert without_personal_data(answer(b"{}", headers))["headers"] == {
        "Content-Type": ["application/json"],
        "Retry-After": ["1"],
    }


def test_a_whole_batch_keeps_its_counts_and_no_search() -> None:
    variants: bodies.Variants = {"custom": {"mail": "jane@doe.example"}, "result_custom": "Jane", "found_key": "valid"}
    body = bodies.completed("batch-1", bodies.MAX_RESULTS, 1.0, **variants)
    left = scrubbed(body)
    assert left["stats"] == body["stats"]
    assert not values(left, "params") & values(body, "params")
    numbers = [result["number"] for result in left["results"]]
    assert len(set(numbers)) == bodies.MAX_RESULTS
    assert all(re.fullmatch(r"\+12[0-3]\d55501\d\d", number) for number in numbers)
    assert scrubbed(left) == left


def test_live_recording_holds_no_key_and_no_people(tmp_path: Path, pipeline: dlt.Pipeline) -> None:
    """A live recording loads and holds neither the key nor people."""
    folder = tmp_path / "cassettes"
    with SimulatedEnrow(api_key="a-secret-of-the-account") as api:
        ids = [
            api.respond(
                "done", Response(body=PERSONAL | {"general": {"id": "done", "status": "completed"}}, gzip=True)
            ),
            api.add_completed("more", 5),
            api.add_ongoing("busy", None, 5),
        ]
        paths = record_live(folder, ids, api.api_key, api.url)
        assert [request.headers.get("x-api-key") for request in api.requests] == [api.api_key] * 4 + [None, "not-a-key"]
    assert [path.stem for path in paths] == [
        "live_completed",
        "live_completed_2",
        "live_ongoing",
        "live_unknown_id",
        "live_no_key",
        "live_bad_key",
    ]
    for path in paths:
        text = path.read_text()
        assert "a-secret-of-the-account" not in text
        assert not re.search(r"jane|doe|3035550187|127\.0\.0\.1|date:|server:", text, re.IGNORECASE)
        assert text.startswith(LIVE)
        assert Interactions(path).metadata == {"recorded_live": True}
        assert [request.headers for request in Interactions(path).requests] == [{}]

    with REPLAY.use_cassette(joined(tmp_path / "run.yaml", *paths[:4])) as replayed:
        report = load(pipeline, *ids, UNKNOWN_ID)
    assert replayed.all_played
    assert (report.completed, report.ongoing, report.unreadable) == (2, 1, 1)
    assert rows(
        tmp_path, "SELECT number, params__lastname FROM phone_results WHERE batch_id = 'done' ORDER BY index"
    ) == [
        ("+12025550100", None),
        ("+12025550101", "Last1"),
        (None, "Last2"),
    ]


@pytest.mark.parametrize("fault", [Response(body=b" " * 100, truncate_after=50), Response.server_error()])
def test_failed_recording_keeps_old_cassettes(fault: Response, tmp_path: Path) -> None:
    """A recording that fails leaves the old cassettes as they are."""
    with SimulatedEnrow() as api:
        record_live(tmp_path, [api.add_completed("done", 1)], api.api_key, api.url)
        before = {path.name: path.read_text() for path in tmp_path.iterdir()}
        api.add_completed("done", 2)
        api.respond("fault", fault)
        with pytest.raises((requests.RequestException, RecordingError)):
            record_live(tmp_path, ["done", "fault"], api.api_key, api.url)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_recording_live_needs_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENROW_API_KEY", "")
    with pytest.raises(SystemExit, match="2"):
        main(["batch-1"], tmp_path)
    assert "set ENROW_API_KEY" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def values(body: Any, level: str) -> set[str]:
    return {value for result in body["results"] for value in result[level].values()}
