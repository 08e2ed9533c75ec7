"""Batch ids from S3: moto's server, read by dlt's own client, in the environment that has both (`make test-all`)."""

import os
from collections.abc import Iterator
from pathlib import Path

import dlt
import duckdb
import pytest
import requests

from enrow_source import enrow_source
from enrow_source.testing import SimulatedEnrow
from tests.destinations import servers

EVENT = '{"event": "bulk_phone_search_finished", "id": "%s"}'


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Run the server with one bucket, and yield the bucket's URL over HTTP."""
    for name in [name for name in os.environ if name.startswith(("SOURCES__", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with servers.s3() as url:
        requests.put(f"{url}/acme", timeout=10).raise_for_status()
        credentials = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up", "ENDPOINT_URL": url}
        for name, value in (credentials | {"REGION_NAME": "us-east-1"}).items():
            monkeypatch.setenv(f"SOURCES__FILESYSTEM__CREDENTIALS__{name}", value)
        yield f"{url}/acme"


def put(bucket: str, name: str, content: str) -> None:
    requests.put(f"{bucket}/{name}", data=content.encode(), timeout=10).raise_for_status()


def test_webhook_events_and_files_of_ids_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    with SimulatedEnrow() as api:

        def load(container: str, *locations: str) -> None:
            source = enrow_source(
                batch_ids_file=locations, enrow_api_key=api.api_key, enrow_base_url=api.url, max_batches=2
            )
            pipeline = dlt.pipeline(
                "enrow",
                destination=dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb")),
                dataset_name="enrow_data",
                pipelines_dir=str(tmp_path / container),
            )
            pipeline.run(source)

        for name in "abcde":
            api.add_completed(name, 1)
        put(bucket, "events/2026/01/1.json", EVENT % "a")
        put(bucket, "events/2026/02/2.json", EVENT % "b")
        put(bucket, "events/2026/02/3.json", '{"event": "other", "id": "x"}')
        put(bucket, "events/2026/02/4.json", '{"event": "bulk_phone_sea')
        put(bucket, "ids/one.csv", "batch_id\nc\n")
        load("first", "s3://acme/events/", "s3://acme/ids/*.csv")
        put(bucket, "events/2026/03/5.json", EVENT % "d")
        put(bucket, "ids/two.csv", "batch_id\ne\n")
        for _ in range(3):
            load("a fresh container", "s3://acme/events/", "s3://acme/ids/*.csv")
        assert [api.fetches(name) for name in "abcdex"] == [1, 1, 1, 1, 1, 0]
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        loaded = connection.execute("SELECT batch_id FROM enrow_data.batches ORDER BY 1").fetchall()
    assert loaded == [("a",), ("b",), ("c",), ("d",), ("e",)]


@pytest.mark.usefixtures("bucket")
def test_an_object_that_is_named_must_be_there() -> None:
    with SimulatedEnrow() as api, pytest.raises(Exception, match=r"there is no file s3://acme/missing\.txt"):
        list(enrow_source(batch_ids_file=["s3://acme/missing.txt"], enrow_api_key="key", enrow_base_url=api.url))
