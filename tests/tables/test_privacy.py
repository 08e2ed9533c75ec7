"""Personal data and the API key: what is written, and where nothing of them may stand."""

import gzip
import hmac
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow.parquet as pq
import pytest

from enrow_source import ConfigurationError, enrow_source
from enrow_source.runner.run import run
from enrow_source.tables.privacy import Pii, Privacy
from enrow_source.testing import Response, SimulatedEnrow

KEY = "recognisable-key-7c1d"
SECRET = "recognisable-secret-91ab"
PERSON = {
    "number": "+14155550123",
    "linkedin_url": "https://www.linkedin.example/in/nobody-at-all",
    "firstname": "Recognisabella",
    "own_key": "own-value-of-nobody",
    "custom": "reference-of-nobody",
    "batch_custom": "campaign-of-nobody",
    "result_key": "undocumented-of-nobody",
}
PARAMS = {key: PERSON[key] for key in ("linkedin_url", "firstname", "own_key")}


def result(index: int) -> dict[str, Any]:
    return {
        "index": index,
        "qualification": "found",
        "number": PERSON["number"],
        "country": "US",
        "custom": {"reference": PERSON["custom"]},
        "result_key": PERSON["result_key"],
        "params": PARAMS,
    }


BODY = {
    "general": {"id": "batch", "status": "completed", "custom": PERSON["batch_custom"]},
    "stats": {"requested": 2, "found": 2, "credits_cost": 80, "credits_to_refund": 0},
    "results": [result(0), result(1)],
}


@pytest.fixture
def api() -> Iterator[SimulatedEnrow]:
    with SimulatedEnrow(api_key=KEY) as simulated:
        simulated.respond("batch", BODY)
        yield simulated


@pytest.fixture(autouse=True)
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds everything that is written: working folder, load packages, traces, the warehouse."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", "false")
    monkeypatch.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.01")
    return tmp_path


def load(api: SimulatedEnrow, batch_ids: list[str], **options: Any) -> dlt.Pipeline:
    pipeline = dlt.pipeline("enrow", destination=dlt.destinations.duckdb("warehouse.duckdb"), dataset_name="data")
    source = enrow_source(batch_ids, enrow_api_key=api.api_key, enrow_base_url=api.url, **options)
    pipeline.run(source, loader_file_format="parquet")
    return pipeline


def texts(folder: Path) -> Iterator[tuple[Path, str]]:
    """Everything that can be read in the folder, unpacked."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.suffix == ".parquet":
            yield file, repr(pq.read_table(file).to_pylist())
        elif file.suffix == ".gz":
            yield file, gzip.decompress(file.read_bytes()).decode()
        elif file.suffix == ".duckdb":
            with duckdb.connect(str(file), read_only=True) as connection:
                tables = connection.execute("SELECT table_schema, table_name FROM information_schema.tables").fetchall()
                for schema, table in tables:
                    yield file / schema / table, repr(connection.execute(f'FROM "{schema}"."{table}"').fetchall())
        yield file, file.read_bytes().decode("latin-1")


def places(folder: Path, *words: str) -> list[tuple[str, str]]:
    return [(str(place), word) for place, text in texts(folder) for word in words if word in text]


def rows(pipeline: dlt.Pipeline, columns: str, table: str = "phone_results") -> list[tuple[Any, ...]]:
    with pipeline.sql_client() as client:
        return [tuple(row) for row in client.execute_sql(f"SELECT {columns} FROM {table}") or []]


def test_the_search_finds_what_is_kept(api: SimulatedEnrow, written: Path) -> None:
    """The search of the other tests finds personal data where it is kept."""
    load(api, ["batch"])
    load(api, ["batch"], refetch=True)  # by a merge, so by way of the staging dataset
    found = places(written, *PERSON.values())
    assert {word for _, word in found} == set(PERSON.values())
    assert any(place.endswith(".parquet") for place, _ in found)
    assert any("data_staging" in place for place, _ in found)


@pytest.mark.parametrize("pii", ["hash", pytest.param("drop", marks=pytest.mark.slow)])
def test_nothing_personal_is_written_in_clear(api: SimulatedEnrow, written: Path, pii: str) -> None:
    load(api, ["batch"], pii=pii, pii_secret=SECRET)
    load(api, ["batch"], pii=pii, pii_secret=SECRET, refetch=True)
    assert places(written, *PERSON.values(), SECRET) == []


def test_equal_values_have_equal_hashes(api: SimulatedEnrow) -> None:
    """Equal values have equal hashes, so that tables stay joinable."""
    pipeline = load(api, ["batch"], pii="hash", pii_secret=SECRET)
    hashed = Privacy(Pii.HASH, SECRET).keyed_hash
    expected = (
        hashed(PERSON["number"]),
        "US",
        hashed(PERSON["linkedin_url"]),
        json.dumps({hashed("own_key"): hashed(PERSON["own_key"])}),
        json.dumps({hashed("result_key"): hashed(PERSON["result_key"])}),
        json.dumps(hashed(json.dumps({"reference": PERSON["custom"]}, separators=(",", ":")))),
    )
    columns = "number, country, params__linkedin_url, params__overflow, overflow, custom"
    assert rows(pipeline, columns) == [expected, expected]
    assert rows(pipeline, "custom", "batches") == [(json.dumps(hashed(json.dumps(PERSON["batch_custom"]))),)]


def test_a_hash_is_the_hmac_of_the_value() -> None:
    text = "Test Using Larger Than Block-Size Key - Hash Key First"
    assert Privacy(Pii.HASH, "z" * 131).keyed_hash(text) == hmac.new(b"z" * 131, text.encode(), "sha256").hexdigest()


def test_dropped_data_is_null_and_the_rest_stays(api: SimulatedEnrow) -> None:
    pipeline = load(api, ["batch"], pii="drop")
    columns = '"index", qualification, number, country, params__linkedin_url, custom'
    assert rows(pipeline, columns) == [(n, "found", None, "US", None, None) for n in (0, 1)]


@pytest.mark.parametrize(
    "options,message",
    [
        ({"pii": "hash"}, "set pii_secret"),
        ({"pii": "hash", "pii_secret": "short"}, "shorter than 16 characters"),
        ({"pii": "mask"}, "set it to keep, hash, drop"),
    ],
)
def test_impossible_settings_fail_before_requests(api: SimulatedEnrow, options: dict[str, str], message: str) -> None:
    """What cannot be done is an error before the first request."""
    with pytest.raises(ConfigurationError, match=message):
        load(api, ["batch"], **options)
    assert api.requests == []


def test_personal_columns_are_marked_in_the_schema(api: SimulatedEnrow) -> None:
    schema = load(api, ["batch"]).default_schema.to_pretty_yaml()
    columns = load(api, ["batch"]).default_schema.get_table_columns("phone_results")
    assert "x-personal-data: true" in schema
    assert {name for name, column in columns.items() if "x-personal-data" in column} == {
        "number",
        "custom",
        *(f"params__{key}" for key in ("linkedin_url", "firstname", "lastname", "company_domain", "company_name")),
    }


def test_the_key_is_written_nowhere(
    api: SimulatedEnrow, written: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")
    caplog.set_level(logging.DEBUG, "urllib3")
    api.respond("echo", Response.message(400, f"the key {KEY} is not allowed"))
    api.respond("down", Response.server_error())
    api.respond("cut", Response(body=b" " * 100, reset_after=10))
    pipeline = load(api, ["batch", "echo", "down", "cut", "nobody-knows"])
    assert rows(pipeline, "count(*)", "batch_errors") == [(4,)]
    assert any(request.headers["x-api-key"] == KEY for request in api.requests)
    assert places(written, KEY) == []
    assert KEY not in caplog.text


@pytest.mark.parametrize("wrong", [401, 402])
def test_the_key_is_in_no_exception_with_its_locals(api: SimulatedEnrow, wrong: int) -> None:
    api.respond("batch", Response.message(wrong, f"the key {KEY} is not allowed"))
    pipeline = dlt.pipeline("enrow", destination=dlt.destinations.duckdb("warehouse.duckdb"), dataset_name="data")
    source = enrow_source(["batch"], enrow_api_key=KEY, enrow_base_url=api.url)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever dlt wraps it in
        pipeline.run(source)
    message = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    assert "is not allowed" in message
    assert KEY not in message


@pytest.mark.parametrize("wrong", [{"connections": 0}, {"conections": 3}, {"max_batches": "many"}])
def test_option_error_does_not_show_the_key(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]) -> None:
    """An error in an option does not hold the key in its local variables."""
    monkeypatch.setenv("ENROW_API_KEY", KEY)
    with pytest.raises(ConfigurationError) as raised:
        run(["batch"], **wrong)
    message = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    assert next(iter(wrong)) in message
    assert KEY not in message
