"""The client and whole runs on recorded HTTP at the real URL, without a network."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from vcr.errors import CannotOverwriteExistingCassetteException

from enrow_source import InvalidApiKeyError
from enrow_source.api.client import EnrowClient
from enrow_source.api.parser import parse_batch
from enrow_source.errors import BatchError, ErrorKind, RequestFailedError, RunError
from enrow_source.testing import bodies
from tests.cassettes.record import (
    BASE_URL,
    FOLDER,
    LIVE,
    NOT_LIVE,
    UNKNOWN_ID,
    main,
    without_personal_data,
)
from tests.cassettes.replay import KEY, REPLAY, Interactions, joined, load, rows

LINKEDIN = "https://www.linkedin.com/in"
COMMITTED = sorted(FOLDER.glob("*.yaml"))
BY_NAME = pytest.mark.parametrize("cassette", COMMITTED, ids=lambda path: path.stem)


def test_cassettes_are_what_the_command_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The documented cassettes are what the command makes."""
    monkeypatch.delenv("ENROW_API_KEY", raising=False)
    assert main([], tmp_path) == 0
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text() for path in COMMITTED if path.name.startswith("documented_")}
    assert made == committed
    assert len(capsys.readouterr().out.splitlines()) == len(made)


@BY_NAME
def test_cassette_says_whether_it_is_live(cassette: Path) -> None:
    """A cassette says whether it was recorded live."""
    is_live = cassette.name.startswith("live_")
    assert Interactions(cassette).metadata == {"recorded_live": is_live}
    assert cassette.read_text().startswith(LIVE if is_live else NOT_LIVE)


@BY_NAME
def test_a_cassette_holds_no_header_that_was_sent(cassette: Path) -> None:
    assert all(not request.headers for request in Interactions(cassette).requests)


@BY_NAME
def test_cassette_holds_no_personal_data(cassette: Path) -> None:
    """A cassette holds no personal data but the documented sample."""
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
    assert (unknown.value.kind, unknown.value.http_status) == (ErrorKind.EXPIRED_OR_UNKNOWN, 400)
    with pytest.raises(InvalidApiKeyError, match="No apikey found in the x-api-key headers"):
        fetch(documented("no_key"), bodies.DOCUMENTED_ID)
    with pytest.raises(InvalidApiKeyError, match="This apikey is not valid"):
        fetch(documented("bad_key"), bodies.DOCUMENTED_ID)


def test_ongoing_then_completed(pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    """A whole run over an ongoing batch, then one in which it is completed."""
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
        (UNKNOWN_ID, 400, "expired_or_unknown", "Could not retrieve bulk search results")
    ]


@pytest.mark.parametrize("name", ["no_key", "bad_key"])
def test_a_whole_run_ends_where_the_key_is_refused(name: str, pipeline: dlt.Pipeline) -> None:
    with REPLAY.use_cassette(documented(name)), pytest.raises(PipelineStepFailed) as failed:
        load(pipeline, bodies.DOCUMENTED_ID)
    assert any(isinstance(cause, InvalidApiKeyError) for cause in causes(failed.value))


def test_nothing_unrecorded_is_requested(pipeline: dlt.Pipeline) -> None:
    """What is not recorded is not requested over the network."""
    with REPLAY.use_cassette(documented("completed")), pytest.raises(PipelineStepFailed) as failed:
        load(pipeline, "another-id")
    assert any(isinstance(cause, CannotOverwriteExistingCassetteException) for cause in causes(failed.value))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
