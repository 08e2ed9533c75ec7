"""A batch, and how a test changes it into a malformed one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from enrow_source.testing import SimulatedEnrow
from tests.support import faults_page
from tests.support.faults_page import BatchRows, Seen
from tests.support.warehouse import Row


def healthy(api: SimulatedEnrow, batch_id: str) -> str:
    """Add a batch that has to load."""
    general = {"id": batch_id, "status": "completed"}
    return api.respond(batch_id, {"general": general, "stats": STATS, "results": [RESULT]})


PROFILE = "https://www.linkedin.example/in/alma"
RESULT: Row = {
    "index": 0,
    "qualification": "found",
    "number": "+12025550100",
    "country": "US",
    "params": {"linkedin_url": PROFILE},
}


ROW: Row = {
    "index": 0,
    "qualification": "found",
    "number": "+12025550100",
    "country": "US",
    "params__linkedin_url": PROFILE,
}


STATS: Row = {"requested": 1, "found": 1, "credits_cost": 40, "credits_to_refund": 0}
SQL = '"; DROP TABLE phone_results; --'
LONG = "long_" * 100


class Raw(str):
    """JSON text to be sent as it stands."""

    __slots__ = ()


def as_json(value: object) -> str:
    """Encode as JSON, with the raw parts as they stand."""
    match value:
        case Raw():
            return value
        case Mapping():
            return "{" + ",".join(f"{as_json(key)}:{as_json(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(as_json, value)) + "]"
    return json.dumps(value)


@dataclass(frozen=True)
class Case:
    """An odd answer, and what is to come of it: the message of its error, or the rows of `phone_results`."""

    what: str
    general: Mapping[str, object] = field(default_factory=dict)
    stats: object = field(default_factory=lambda: STATS)
    results: object = field(default_factory=lambda: [RESULT])
    top: Mapping[str, object] = field(default_factory=dict)
    body: bytes | None = None
    """The whole answer, where its parts do not say it."""
    error: str | None = None
    left_out: str | None = None
    """Why a value of `stats` is null."""
    rows: tuple[Row, ...] = (ROW,)
    batch: Row = field(default_factory=lambda: {"status": "completed"})
    """The row of `batches`."""
    seen_stats: Row = field(default_factory=dict)
    """Values in the row of `batch_stats`."""

    def answer(self, batch_id: str) -> bytes:
        if self.body is not None:
            return self.body.replace(b"BATCH", batch_id.encode())
        general = {"id": batch_id, "status": "completed", **self.general}
        parts = {"general": general, "stats": self.stats, "results": self.results, **self.top}
        return as_json({key: part for key, part in parts.items() if part is not ...}).encode()


def message(case: Case, rows_of_batch: BatchRows, usual: BatchRows) -> Seen:
    if case.error is not None:
        return Seen(case.what, "went on without it", faults_page.shown_error(rows_of_batch))
    if case.left_out is not None:
        (row,) = rows_of_batch.errors
        where = f"`batch_errors`: `{row['kind']}`, {row['http_status']}: `{row['message']}`"
        return Seen(case.what, "loaded it without the value", where)
    did = "loaded it" if case.batch["status"] == "completed" else "recorded it; fetches it again next time"
    return Seen(case.what, did, faults_page.shown_loaded(rows_of_batch, usual))
