"""A data analyst's script: one request after another, pandas, and DuckDB from a frame."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import requests


def main() -> None:
    """Load the batches."""
    url, ids_file, file = sys.argv[1:4]
    session = requests.Session()
    session.headers["x-api-key"] = "key"
    results, stats = [], []
    for batch_id in Path(ids_file).read_text(encoding="utf-8").split():
        response = session.get(f"{url}/phone/bulk", params={"id": batch_id}, timeout=60)
        response.raise_for_status()
        body = response.json()
        frame = pd.json_normalize(body["results"])
        frame["batch_id"] = batch_id
        results.append(frame)
        stats.append({"batch_id": batch_id, **body["general"], **body["stats"]})
    phone_results = pd.concat(results)  # noqa: F841 - DuckDB finds frames by the name of their variable
    batch_stats = pd.DataFrame(stats)  # noqa: F841 - as above
    with duckdb.connect(file) as connection:
        connection.execute("CREATE OR REPLACE TABLE phone_results AS SELECT * FROM phone_results")
        connection.execute("CREATE OR REPLACE TABLE batch_stats AS SELECT * FROM batch_stats")


if __name__ == "__main__":
    main()
