"""Makes a database that knows many batches: `python -m benchmarks.prepare COUNT FILE`, from one that holds one."""

from __future__ import annotations

import sys
from typing import Final

import duckdb

_TABLES: Final = ("batches", "batch_stats", "phone_results_ledger")
_ID: Final = "printf('%08x-d6a6-4ea7-b331-9b734682a76a', known_id.number)"
"""As `bodies.batch_id` makes them."""


def main() -> None:
    """Put `COUNT` batches with the ids from 0 in the tables that tell what is loaded, as copies of the first."""
    count, file = int(sys.argv[1]), sys.argv[2]
    with duckdb.connect(file) as connection:
        for table in _TABLES:
            connection.execute(
                f"INSERT INTO enrow_data.{table} SELECT known.* REPLACE ({_ID} AS batch_id)"  # noqa: S608
                f" FROM (FROM enrow_data.{table} LIMIT 1) known, range(1, {count}) known_id(number)"
            )


if __name__ == "__main__":
    main()
