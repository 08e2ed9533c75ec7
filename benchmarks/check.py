"""Reads what a competitor has loaded, in a process of its own: `python -m benchmarks.check COMPETITOR FILE`.

It runs in the competitor's environment, since a DuckDB file opens only with a version that is new enough, and apart
from the harness, whose memory would count for the processes it starts.
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from typing import Final

import duckdb

_RESULTS: Final = (
    "SELECT count(*), count(DISTINCT {id}), coalesce(sum(index), 0)::BIGINT,"
    " count(*) FILTER (qualification = 'found') FROM {table}"
)
_CREDITS: Final = "SELECT coalesce(sum(credits_cost), 0)::BIGINT FROM {table}"
_OURS: Final = (
    _RESULTS.format(id="batch_id", table="enrow_data.phone_results"),
    _CREDITS.format(table="enrow_data.batch_stats"),
)
_TOTALS: Final = {
    "ours": _OURS,
    "ours_command": _OURS,
    "rest_api_taught": (
        _RESULTS.format(id="_batch_ids_id", table="rest_api_data.phone_results"),
        _CREDITS.format(table="rest_api_data.batch_stats"),
    ),
    "rest_api_tuned": (_RESULTS.format(id="_batch_ids_id", table="rest_api_data.phone_results"),),
    "analyst": (
        _RESULTS.format(id="batch_id", table="phone_results"),
        _CREDITS.format(table="batch_stats"),
    ),
    "floor": (
        _RESULTS.format(id="batch_id", table="phone_results"),
        _CREDITS.format(table="batches"),
    ),
}
"""Statements that give, one after another: rows, batches, sum of index, found, sum of credits where they are loaded."""

_STATE: Final = "SELECT state FROM enrow_data._dlt_pipeline_state WHERE pipeline_name = 'benchmark'"


def main() -> None:
    """Print the totals of a competitor as a JSON array; of `state`, the bytes of the pipeline's state, uncompressed."""
    competitor, file = sys.argv[1:3]
    with duckdb.connect(file, read_only=True) as connection:
        if competitor == "state":
            rows = connection.execute(_STATE).fetchall()
            values = [sum(len(zlib.decompress(base64.b64decode(state))) for (state,) in rows)]
        else:
            values = [value for total in _TOTALS[competitor] for value in connection.execute(total).fetchall()[0]]
    sys.stdout.write(json.dumps(values))


if __name__ == "__main__":
    main()
