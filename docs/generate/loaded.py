"""A warehouse that the real pipeline loaded: its schema as dlt stored it, and rows to show."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import dlt
import duckdb

from enrow_source import Subject, SubjectKind, erase, submit
from enrow_source.runner.pipeline import DATASET_NAME, build_pipeline
from enrow_source.runner.run import run
from enrow_source.testing import SimulatedEnrow, bodies

SECRET: Final = "the-secret-of-the-examples"  # noqa: S105 - keys nothing but made-up people
ERASED: Final = "asked-to-be-erased"
NOT_READABLE: Final = "nobody-knows"
TIME: Final = "2026-03-02 09:15:00+00:00"
"""Stands for every time in the examples, or each load would give other pages."""
_OF_DLT: Final = {"_dlt_load_id": "1772442900.1234567", "_dlt_id": "Vb2kq0fXyB1mZw"}
_ORDER: Final = (
    "batches",
    "batch_stats",
    "phone_results",
    "phone_results_ledger",
    "batch_errors",
    "deferred_batch_ids",
    "submissions",
    "submitted_searches",
    "submit_runs",
    "submission_lease",
)


OF_THE_RUN = {
    "run_id": "1f0c...",
    "submission_id": "8d2e...",
    "submit_id": "5b7a...",
    "holder": "",
    "load_id": _OF_DLT["_dlt_load_id"],
    "bytes_received": "48213",
    **dict.fromkeys(("extract_s", "normalize_s", "load_s", "total_s"), "0.5"),
    "enrow_source_version": "0.1.0",
    "dlt_version": "1.31.0",
    "python_version": "3.11.7",
}
"""What differs from run to run and from machine to machine."""


@dataclass(frozen=True)
class LoadedExample:
    """The loaded tables; `tables` is dlt's schema of them, in the order in which a reader meets them."""

    tables: dict[str, Any]
    connection: duckdb.DuckDBPyConnection

    def ask(self, statement: str) -> tuple[Sequence[str], list[tuple[str | None, ...]]]:
        """Run a statement; return the names of its columns, and its rows as they are shown; None for null."""
        cursor = self.connection.execute(statement)
        names = [column[0] for column in cursor.description]
        rows = [tuple(_shown(*cell) for cell in zip(names, row, strict=True)) for row in cursor.fetchall()]
        return names, rows


def _shown(name: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return TIME
    if name in _OF_DLT:
        return _OF_DLT[name]
    if name in OF_THE_RUN:
        return OF_THE_RUN[name]
    if isinstance(value, Decimal | float):
        return f"{value:.6g}" if value % 1 else f"{value:.0f}"
    return str(value)


@contextmanager
def loaded() -> Iterator[LoadedExample]:
    """Load batches of every kind, erase one, and yield the warehouse."""
    with SimulatedEnrow() as api, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "warehouse.duckdb"
        options: dict[str, Any] = {"enrow_api_key": api.api_key, "enrow_base_url": api.url, "pii_secret": SECRET}
        destination = dlt.destinations.duckdb(str(file))
        pipeline = build_pipeline(destination, pipelines_dir=folder)
        submitted = Path(folder) / "submitted.txt"
        submitted.write_text(NOT_READABLE, encoding="utf-8")
        run(_batches(api), pipeline=pipeline, connections=1, batch_ids_file=[str(submitted)], **options)
        submitting = build_pipeline(destination, pipeline_name="enrow_submissions", pipelines_dir=folder)
        people = bodies.searches("leads", 3, api.seed)
        account = {name: options[name] for name in ("enrow_api_key", "enrow_base_url")}
        submit(people, pipeline=submitting, max_credits=200, campaign="spring", batch_size=2, **account)
        erasing = build_pipeline(destination, pipeline_name="enrow_erasures", pipelines_dir=folder)
        erase(erasing, Subject(SubjectKind.BATCH, ERASED), execute=True)
        with duckdb.connect(str(file), read_only=True) as connection:
            connection.execute(f"USE {DATASET_NAME}")
            yield LoadedExample(_tables(connection), connection)


def _batches(api: SimulatedEnrow) -> list[str]:
    spring, summer = {"campaign": "spring"}, {"campaign": "summer"}
    again = bodies.completed("spring-2", 40, custom=spring)
    for paid_twice, other in zip(_found(bodies.completed("spring-1", 60)), _found(again)[:2], strict=False):
        other["params"] = paid_twice["params"]
    cut_short = bodies.completed("summer-1", 30, custom=summer, credits_per_phone=50)
    del cut_short["results"][20:]
    return [
        api.add_completed("spring-1", 60, custom=spring, result_custom={"row": 1}),
        api.respond("spring-2", again),
        api.respond("summer-1", cut_short),
        api.add_ongoing("summer-2", None, 25),
        api.add_failed("summer-3", {"requested": 10}),
        api.add_completed(ERASED, 5),
    ]


def _found(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [r for r in body["results"] if r["qualification"] == "found" and "linkedin_url" in r["params"]]


def _tables(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    stored = connection.execute(
        "SELECT arg_max(schema, version) FROM _dlt_version GROUP BY schema_name ORDER BY schema_name"
    ).fetchall()
    found: dict[str, Any] = {}
    for (schema,) in stored:
        tables = json.loads(schema)["tables"].items()
        found |= {name: table for name, table in tables if not name.startswith("_dlt") and table["columns"]}
    return {name: found.pop(name) for name in _ORDER} | dict(sorted(found.items()))
