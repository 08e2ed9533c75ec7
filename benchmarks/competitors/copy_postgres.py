"""The floor's download into Postgres: COPY into the table, and nothing else. No staging table, no merge, no ledger."""

from __future__ import annotations

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2  # type: ignore[import-untyped]  # it has no types
import pyarrow as pa
from pyarrow import csv

from .floor import CONNECTIONS, SCHEMA, fetch


def main() -> None:
    """Load the batches."""
    url, ids_file, database = sys.argv[1:4]
    batch_ids = Path(ids_file).read_text(encoding="utf-8").split()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        fetched = list(pool.map(lambda batch_id: fetch(url, batch_id), batch_ids))
    rows = io.BytesIO()
    csv.write_csv(pa.concat_tables([results for _, results in fetched]), rows, csv.WriteOptions(include_header=False))
    rows.seek(0)
    columns = ", ".join(f'"{field.name}" {"bigint" if field.type == pa.int64() else "text"}' for field in SCHEMA)
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA enrow_data")
        cursor.execute(f"CREATE TABLE enrow_data.phone_results ({columns})")
        cursor.copy_expert("COPY enrow_data.phone_results FROM STDIN (FORMAT csv)", rows)


if __name__ == "__main__":
    main()
