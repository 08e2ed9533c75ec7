"""What is wrong after a sequence: the tables row by row against what was served, and the requests counted."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from .destinations import Rows
from .expected import Row, canonical, expected_rows
from .scenario import Served

TABLES: Final = ("batches", "batch_stats", "phone_results", "phone_results_ledger", "batch_errors", "_dlt_loads")
"""What is read to be compared."""
_STAMPS: Final = ("fetched_at", "_dlt_load_id")
_TIMES: Final = ("first_seen_at",)
"""Columns that hold a time only: of this fetch, or of an earlier one."""
_SHOWN: Final = 5
_KINDS: Final = {200: "invalid_response", 400: "expired_or_unknown", 500: "server_error", 503: "server_error"}


def differences(
    tables: Mapping[str, Rows], answers: Sequence[Served], killed: set[int], beside: AbstractSet[int] = frozenset()
) -> list[str]:
    """Return what is wrong, a line each; nothing if all is right.

    Args:
        tables: All rows at the end, `_dlt_loads` among them.
        answers: Everything that the API served.
        killed: The runs that were killed, or whose rows are gone since.
        beside: The runs that had another one beside them, so that both may have fetched a batch.
    """
    killed = killed | beside
    wrong: list[str] = []
    for table, rows in expected_rows(answers).items():
        wrong += _compare(table, Counter(map(_key, rows)), Counter(_key(_found(row)) for row in tables[table]))
    wrong += [*_mixed_loads(tables), *_errors(tables["batch_errors"], answers, killed, beside)]
    return [*wrong, *_gets(answers, killed, beside)]


def _found(row: Mapping[str, Any]) -> Row:
    """Return the row as it is expected: without the stamps, `custom` in one spelling."""
    kept = {key: value for key, value in row.items() if value is not None and key not in _STAMPS + _TIMES}
    return kept | ({"custom": canonical(json.loads(kept["custom"]))} if "custom" in kept else {})


def _key(row: Row) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(row.items()))


def _compare(table: str, expected: Counter[Any], found: Counter[Any]) -> Iterator[str]:
    for what, rows in ("missing", expected - found), ("too many", found - expected):
        if rows:
            yield f"{table}: {rows.total()} rows {what}"
            yield from (f"    {count} x {dict(row)}" for row, count in list(rows.items())[:_SHOWN])


def _mixed_loads(tables: Mapping[str, Rows]) -> Iterator[str]:
    """A batch is of one fetch, and of a load that was completed, in all tables."""
    completed = {row["load_id"] for row in tables["_dlt_loads"] if row["status"] == 0}
    stamps: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)
    for table in ("batches", "batch_stats", "phone_results", "phone_results_ledger"):
        for row in tables[table]:
            stamps[row["batch_id"]].add(tuple(row[name] for name in _STAMPS))
    for batch_id, found in stamps.items():
        if len(found) > 1:
            yield f"{batch_id} is of {len(found)} fetches: {sorted(map(str, found))}"
        elif not {load_id for _, load_id in found} <= completed:
            yield f"{batch_id} is of a load that was not completed"


def _errors(rows: Rows, answers: Iterable[Served], killed: AbstractSet[int], beside: AbstractSet[int]) -> Iterator[str]:
    """A fetch that failed is one row; one of a run that was killed may be lost, since it is made again."""
    for (batch_id, at), count in Counter((row["batch_id"], row["fetched_at"]) for row in rows).items():
        if count > 1:
            yield f"batch_errors: the fetch of {batch_id} at {at} is there {count} times"
    fetches = {
        (answer.batch_id, answer.run, number if answer.run in beside else 0): answer
        for number, answer in enumerate(answers)
    }
    failed = [answer for answer in fetches.values() if answer.body is None]
    most = Counter((answer.batch_id, _KINDS[answer.response.status]) for answer in failed)
    least = Counter((a.batch_id, _KINDS[a.response.status]) for a in failed if a.run not in killed)
    found = Counter((row["batch_id"], row["kind"]) for row in rows)
    for what, keys in ("missing", least - found), ("too many", found - most):
        yield from (f"batch_errors: {count} rows {what} of {key}" for key, count in keys.items())


def _gets(answers: Iterable[Served], killed: AbstractSet[int], beside: AbstractSet[int]) -> Iterator[str]:
    """A batch that has ended is asked for once, and once more for each run that was killed before."""
    ended: defaultdict[str, Counter[int]] = defaultdict(Counter)
    fetches: Counter[tuple[str, int]] = Counter()
    for answer in answers:
        fetches[answer.batch_id, answer.run] += not answer.is_retried
        if answer.is_terminal:
            ended[answer.batch_id][answer.run] += 1
    for batch_id, runs in ended.items():
        if again := [run for run in sorted(runs)[:-1] if run not in killed]:
            later = min(run for run in runs if run > again[0])
            yield f"{batch_id} was asked for again by run {later}, though run {again[0]} had loaded it"
    for (batch_id, run), count in fetches.items():
        if count > 1 and run not in beside:
            yield f"{batch_id} was asked for {count} times in run {run}"
