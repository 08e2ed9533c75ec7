"""Fixtures of the tests on cassettes."""

from pathlib import Path

import dlt
import pytest

from enrow_source.runner.pipeline import build_pipeline


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dlt.Pipeline:
    monkeypatch.chdir(tmp_path)
    return build_pipeline(
        dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb")), pipelines_dir=str(tmp_path / "pipelines")
    )
