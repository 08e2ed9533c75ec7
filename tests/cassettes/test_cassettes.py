"""The client and whole runs on recorded HTTP at the real URL, without a network; and what may be in a recording."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
import requests
import vcr
from dlt.pipeline.exceptions import PipelineStepFailed
from vcr.errors import CannotOverwriteExistingCassetteException
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer
from vcr.stubs import VCRHTTPResponse

from enrow_source import InvalidApiKeyError
from enrow_source.api.client import EnrowClient
from enrow_source.api.parser import parse_batch
from enrow_source.errors import BatchError, ErrorKind, RequestFailedError, RunError
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.runner.report import RunReport
from enrow_source.runner.run import run
from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.cassettes.record import (
    BASE_URL,
    FOLDER,
    LIVE,
    NOT_LIVE,
    UNKNOWN_ID,
    RecordingError,
    main,
    record_live,
    without_personal_data,
)

KEY = "a-made-up-key"
LINKEDIN = "https://www.linkedin.com/in"
COMMITTED = sorted(FOLDER.glob("*.yaml"))
BY_NAME = pytest.mark.parametrize("cassette", COMMITTED, ids=lambda path: path.stem)


def _read1(response: Any, amount: int = -1, *, decode_content: bool | None = None) -> bytes:  # noqa: ARG001 - urllib3's
    content: BytesIO = response._content
    return content.read1(amount)


# vcrpy's response does not know the arguments that urllib3's has.
REPLAY = vcr.VCR(record_mode=vcr.mode.NONE, custom_patches=((VCRHTTPResponse, "read1", _read1),))


class Interactions:
    """What a cassette holds."""

    def __init__(self, cassette: Path) -> None:
        self.requests, self.responses, self.metadata = FilesystemPersister.load_cassette(cassette, yamlserializer)

    @property
    def batch_ids(self) -> list[str]:
        return [value for request in self.requests for name, value in request.query if name == "id"]

    @property
    def statuses(self) -> list[int]:
        return [response["status"]["code"] for response in self.responses]

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(response["body"]["string"]) for response in self.responses]


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dlt.Pipeline:
    monkeypatch.chdir(tmp_path)
    return build_pipeline(
        dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb")), pipelines_dir=str(tmp_path / "pipelines")
    )


def rows(tmp_path: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("USE enrow_data")
        return connection.execute(sql).fetchall()


def load(pipeline: dlt.Pipeline, *batch_ids: str) -> RunReport:
    # One at a time: for each connection vcrpy takes its patches away for a moment, for all threads.
    return run(batch_ids, pipeline=pipeline, enrow_api_key=KEY, connections=1)


# The committed cassettes ----------------------------------------------------------------------------------------


def test_the_documented_cassettes_are_what_the_command_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ENROW_API_KEY", raising=False)
    assert main([], tmp_path) == 0
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text() for path in COMMITTED if path.name.startswith("documented_")}
    assert made == committed
    assert len(capsys.readouterr().out.splitlines()) == len(made)


@BY_NAME
def test_a_cassette_tells_whether_it_was_recorded_live(cassette: Path) -> None:
    is_live = cassette.name.startswith("live_")
    assert Interactions(cassette).metadata == {"recorded_live": is_live}
    assert cassette.read_text().startswith(LIVE if is_live else NOT_LIVE)


@BY_NAME
def test_a_cassette_holds_no_header_that_was_sent(cassette: Path) -> None:
    assert all(not request.headers for request in Interactions(cassette).requests)


@BY_NAME
def test_a_cassette_holds_no_personal_data_but_the_documented_sample(cassette: Path) -> None:
    interactions = Interactions(cassette)
    for response, body in zip(interactions.responses, interactions.bodies, strict=True):
        scrubbed = json.loads(without_personal_data(response)["body"]["string"])
        assert body in (scrubbed, bodies.documented())


@BY_NAME
def test_the_client_reads_every_cassette(cassette: Path) -> None:
    interactions = Interactions(cassette)
    with REPLAY.use_cassette(cassette) as replayed, EnrowClient(KEY, BASE_URL) as client:
        for batch_id, body in zip(interactions.batch_ids, interactions.bodies, strict=True):
            try:
                batch = parse_batch(batch_id, client.fetch_batch(batch_id).body)
            except (BatchError, RunError) as error:
                assert body["message"] in str(error)  # noqa: PT017 - which error it is depends on the cassette
            else:
                assert (batch.status, batch.results.count) == (
                    body["general"]["status"],
                    len(body.get("results") or ()),
                )
    assert replayed.all_played


@BY_NAME
def test_every_cassette_loads(cassette: Path, pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    interactions = Interactions(cassette)
    refused = interactions.statuses[0] in (401, 402)
    with REPLAY.use_cassette(cassette) as replayed, pytest.raises(PipelineStepFailed) if refused else nullcontext():
        load(pipeline, *interactions.batch_ids)
    assert replayed.all_played
    if not refused:
        message = [body["general"] for body in interactions.bodies if "general" in body]
        loaded = rows(tmp_path, "SELECT batch_id, status FROM batches")
        assert loaded == [(general["id"], general["status"]) for general in message]
        errors = rows(tmp_path, "SELECT http_status FROM batch_errors")
        assert errors == [(status,) for status in interactions.statuses if status >= 400]


# The documented ones, exactly -----------------------------------------------------------------------------------


def documented(name: str) -> Path:
    return FOLDER / f"documented_{name}.yaml"


def fetch(cassette: Path, batch_id: str) -> Any:
    with REPLAY.use_cassette(cassette), EnrowClient(KEY, BASE_URL) as client:
        answer = client.fetch_batch(batch_id)
    assert answer.http_status == 200
    return json.loads(answer.body)


def test_the_client_gives_the_documented_bodies() -> None:
    batch_id = bodies.DOCUMENTED_ID
    assert fetch(documented("completed"), batch_id) == bodies.documented()
    assert fetch(documented("ongoing"), batch_id) == {
        "general": {"id": batch_id, "status": "ongoing"},
        "stats": {"requested": 2, "finished": 0},
    }


def test_the_client_raises_the_documented_errors() -> None:
    with pytest.raises(RequestFailedError, match=r"^Could not retrieve bulk search results$") as unknown:
        fetch(documented("unknown_id"), UNKNOWN_ID)
    assert (unknown.value.kind, unknown.value.http_status) == (ErrorKind.NOT_READABLE, 400)
    with pytest.raises(InvalidApiKeyError, match="No apikey found in the x-api-key headers"):
        fetch(documented("no_key"), bodies.DOCUMENTED_ID)
    with pytest.raises(InvalidApiKeyError, match="This apikey is not valid"):
        fetch(documented("bad_key"), bodies.DOCUMENTED_ID)


def test_a_whole_run_in_progress_then_one_that_completes(pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    batch_id = bodies.DOCUMENTED_ID
    with REPLAY.use_cassette(joined(tmp_path / "first.yaml", documented("ongoing"), documented("unknown_id"))):
        report = load(pipeline, batch_id, UNKNOWN_ID)
    assert (report.ongoing, report.unreadable) == (1, 1)
    assert rows(tmp_path, "SELECT batch_id, status FROM batches") == [(batch_id, "ongoing")]

    with REPLAY.use_cassette(documented("completed")) as completed:
        assert load(pipeline).completed == 1
        assert load(pipeline, batch_id).fetched == 0
    assert completed.play_count == 1

    assert rows(tmp_path, "SELECT batch_id, status, custom FROM batches") == [(batch_id, "completed", None)]
    assert rows(tmp_path, "SELECT * EXCLUDE (fetched_at, _dlt_load_id) FROM batch_stats") == [
        (batch_id, "completed", 2, None, 2, Decimal(80), Decimal(0), 2, 2)
    ]
    assert rows(tmp_path, "SELECT * EXCLUDE (fetched_at, _dlt_load_id) FROM phone_results ORDER BY index") == [
        (batch_id, 0, "found", "+15705551234", "US", None, f"{LINKEDIN}/michael-scott", None, None, None, None),
        (batch_id, 1, "found", "+15705555678", "US", None, f"{LINKEDIN}/dwight-schrute", None, None, None, None),
    ]
    assert rows(tmp_path, "SELECT batch_id, http_status, kind, message FROM batch_errors") == [
        (UNKNOWN_ID, 400, "not_readable", "Could not retrieve bulk search results")
    ]


@pytest.mark.parametrize("name", ["no_key", "bad_key"])
def test_a_whole_run_ends_where_the_key_is_refused(name: str, pipeline: dlt.Pipeline) -> None:
    with REPLAY.use_cassette(documented(name)), pytest.raises(PipelineStepFailed) as failed:
        load(pipeline, bodies.DOCUMENTED_ID)
    assert any(isinstance(cause, InvalidApiKeyError) for cause in causes(failed.value))


def test_what_is_not_recorded_is_not_asked_for_over_the_network(pipeline: dlt.Pipeline) -> None:
    with REPLAY.use_cassette(documented("completed")), pytest.raises(PipelineStepFailed) as failed:
        load(pipeline, "another-id")
    assert any(isinstance(cause, CannotOverwriteExistingCassetteException) for cause in causes(failed.value))


# Recording live -------------------------------------------------------------------------------------------------


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


def test_a_recorded_body_keeps_its_shape_and_nothing_personal() -> None:
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
def test_nothing_personal_is_kept_where_it_was_not_expected(body: Any, kept: Any) -> None:
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


def test_a_live_recording_loads_and_holds_neither_key_nor_people(tmp_path: Path, pipeline: dlt.Pipeline) -> None:
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
def test_a_recording_that_fails_leaves_the_old_cassettes_alone(fault: Response, tmp_path: Path) -> None:
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


def scrubbed(body: Any) -> Any:
    return json.loads(without_personal_data(answer(json.dumps(body).encode()))["body"]["string"])


def answer(body: bytes, headers: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
    return {"status": {"code": 200, "message": "OK"}, "headers": headers or {}, "body": {"string": body}}


def joined(file: Path, *cassettes: Path) -> Path:
    parts = [Interactions(cassette) for cassette in cassettes]
    content = {
        "requests": [request for part in parts for request in part.requests],
        "responses": [response for part in parts for response in part.responses],
    }
    FilesystemPersister.save_cassette(file, content, yamlserializer)
    return file


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
