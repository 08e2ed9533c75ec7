"""Cassettes, replayed at the real URL."""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import dlt
import duckdb
import vcr
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer
from vcr.stubs import VCRHTTPResponse

from enrow_source.runner.report import RunReport
from enrow_source.runner.run import run
from tests.cassettes.record import (
    without_personal_data,
)

KEY = "a-made-up-key"


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


def rows(tmp_path: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("USE enrow_data")
        return connection.execute(sql).fetchall()


def load(pipeline: dlt.Pipeline, *batch_ids: str) -> RunReport:
    # One at a time: for each connection vcrpy takes its patches away for a moment, for all threads.
    return run(batch_ids, pipeline=pipeline, enrow_api_key=KEY, connections=1)


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
