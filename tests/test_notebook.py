"""The notebook, run as marimo runs it, on a warehouse that the pipeline loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dlt
import pytest

from enrow_source.testing import SimulatedEnrow, bodies
from pipelines.phone_bulk import build_pipeline, run

REPO = Path(__file__).parent.parent

RUN = """
import json

import pandas as pd

from notebooks.phone_bulk import app

shown, defined = app.run()
frames = {name: value for name, value in defined.items() if isinstance(value, pd.DataFrame)}
rows = {name: json.loads(frame.to_json(orient="records")) for name, frame in frames.items()}
print(json.dumps({"rows": rows, "shown": [str(getattr(output, "text", output)) for output in shown]}))
"""


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "loaded.duckdb"
    pipeline = build_pipeline(dlt.destinations.duckdb(str(file)), pipelines_dir=str(tmp_path / "pipelines"))
    with SimulatedEnrow() as api:
        ids = [
            api.add_documented(),
            api.add_completed("half", 10, 0.5),
            api.add_completed("none", 4, 0.0),
            api.add_ongoing("busy", None, 25),
            api.add_failed("bad"),
            "nobody-knows",
        ]
        options = {"enrow_api_key": api.api_key, "enrow_base_url": api.url}
        run(ids, pipeline=pipeline, **options)
        run(ids, pipeline=pipeline, **options)
    return file


def run_notebook(cwd: Path, *arguments: str, **environment: str) -> Any:
    clean = {name: value for name, value in os.environ.items() if name != "ENROW_WAREHOUSE"}
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(REPO), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_notebook_reads_what_the_pipeline_loaded(warehouse: Path) -> None:
    ran = run_notebook(warehouse.parent, "--", "--warehouse", warehouse.name, ENROW_WAREHOUSE="another.duckdb")
    rows = ran["rows"]
    by_batch = {row.pop("batch_id"): row for row in rows["by_batch"]}
    assert by_batch.keys() == {bodies.DOCUMENTED_ID, "half", "none"}
    assert without_times(by_batch["half"]) == {
        "searches": 10,
        "found": 5,
        "found_share": 0.5,
        "credits": 200,
        "credits_refunded": 200,
        "credits_per_phone": 40,
    }
    assert (by_batch["none"]["found_share"], by_batch["none"]["credits_per_phone"]) == (0, None)
    countries = {row["country"]: row["phones"] for row in rows["by_country"]}
    assert countries["US"] >= 2
    assert sum(countries.values()) == 2 + 5
    assert [without_times(row) for row in rows["ongoing"]] == [
        {"batch_id": "busy", "status": "ongoing", "finished": 0, "requested": 25}
    ]
    assert [without_times(row) for row in rows["unreadable"]] == [
        {
            "batch_id": "nobody-knows",
            "tries": 2,
            "kind": "not_readable",
            "message": "Could not retrieve bulk search results",
        }
    ]
    page = " ".join(ran["shown"])
    assert "44%" in page  # 7 phones for 16 searches
    assert "Nothing is loaded yet" not in page


def test_without_a_warehouse_the_notebook_tells_to_run_the_pipeline(tmp_path: Path) -> None:
    ran = run_notebook(tmp_path, ENROW_WAREHOUSE="missing.duckdb")
    assert ran["rows"] == {}
    page = " ".join(ran["shown"])
    assert "Nothing is loaded yet" in page
    assert "missing.duckdb" in page
    assert "Run the pipeline first" in page
    assert not list(tmp_path.iterdir())


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in row.items() if name not in ("fetched_at", "last_look", "since", "last_tried")
    }
