"""A destination whose library is not installed is refused before the first request, with the extra to install.

The environment of the tests has neither deltalake nor the clients of Snowflake and BigQuery.
"""

import sys
from pathlib import Path

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import enrow_source, run
from enrow_source.cli import main
from enrow_source.testing import SimulatedEnrow

COMMANDS = {
    "run": ["run", "batch-1"],
    "submit": ["submit", "--people-file", "leads.csv", "--max-credits", "40"],
    "submissions": ["submissions"],
    "check": ["check"],
    "erase": ["erase", "--batch-id", "batch-1"],
    "hide": ["erase", "--existing"],
}
DELTALAKE = "takes deltalake: pip install 'enrow-source[deltalake]'"


@pytest.fixture(autouse=True)
def settings(api: SimulatedEnrow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
    monkeypatch.setenv("SOURCES__ENROW__PII", "drop")
    monkeypatch.setenv("SOURCES__ENROW__PII_SECRET", "a secret of the tests")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://u:p@127.0.0.1:1/d")
    (tmp_path / "leads.csv").write_text("linkedin_url\nhttps://www.linkedin.com/in/alma-marlow\n", encoding="utf-8")


@pytest.mark.parametrize("destination", ["snowflake", "bigquery", "postgres"])
def test_the_extra_of_a_destination(
    api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], destination: str
) -> None:
    if destination == "postgres":
        for module in ("postgres", "sql_client"):  # which it does have: as if they were imported without
            monkeypatch.delitem(sys.modules, f"dlt.destinations.impl.postgres.{module}", raising=False)
        monkeypatch.setitem(sys.modules, "psycopg2", None)
    ended = {}
    for name, command in COMMANDS.items():
        code = main([*command, "--destination", destination])
        printed = "".join(capsys.readouterr())
        ended[name] = code, f"not installed: pip install 'enrow-source[{destination}]'" in printed
    assert ended == dict.fromkeys(COMMANDS, (2, True)) | {"check": (1, True)}
    assert [request.path for request in api.requests] == ["/account/info"]


def test_files_take_deltalake(api: SimulatedEnrow, capsys: pytest.CaptureFixture[str]) -> None:
    """Not in the load, when the requests are made."""
    assert main(["run", "batch-1", "--destination", "filesystem"]) == 2
    assert DELTALAKE in capsys.readouterr().err
    assert api.requests == []
    assert main(["check", "--destination", "filesystem"]) == 1
    assert DELTALAKE in capsys.readouterr().out


def test_a_pipeline_of_ones_own(api: SimulatedEnrow, tmp_path: Path) -> None:
    """The source says it by itself."""
    lake = dlt.destinations.filesystem(str(tmp_path / "lake"))
    pipeline = dlt.pipeline("own", destination=lake, dataset_name="own", pipelines_dir=str(tmp_path / "own"))
    with pytest.raises(PipelineStepFailed, match="takes deltalake"):
        pipeline.run(enrow_source(["batch-1"]))
    with pytest.raises(PipelineStepFailed, match="takes deltalake"):
        run(["batch-1"], pipeline=pipeline)
    assert api.requests == []
