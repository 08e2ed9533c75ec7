"""`docs/reference/faults.md`: what each fault and each odd input gave, written from what the tests saw in the tables.

A test hands in the rows of its section. They have to be what the file says; `ENROW_WRITE_DOCS=1` writes them instead.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.support import REPOSITORY
from tests.support.warehouse import Row, Warehouse

FILE = REPOSITORY / "docs" / "reference" / "faults.md"
WRITES = os.environ.get("ENROW_WRITE_DOCS") == "1"  # read now: the tests clear the environment
COMMAND = "ENROW_WRITE_DOCS=1 .venv/bin/pytest tests/fetch tests/ids tests/chaos tests/cli"

INTRODUCTION = f"""\
# Observed faults

Each row was seen in a whole run: requests over real sockets, a load into DuckDB, and healthy batches beside the one
named here, all of which loaded. The tests write this page, and fail when a row is no longer true:
`{COMMAND}`.

[Failure modes](../failure-modes.md) is the summary.
"""
SECTIONS = {
    "HTTP faults": "Runs with `request_max_attempts` = 2 and `request_timeout` = 1.5 s.",
    "When the API says 429": "Runs with `request_max_attempts` = 2 and `request_max_retry_delay` = 1.1 s.",
    "A 429 is for the whole run": "Arrivals as the server saw them.",
    "No HTTP at all": "Runs with `request_max_attempts` = 2 and `request_timeout` = 1 s.",
    "Runs that end early": "What is there is loaded; the next run goes on.",
    "When the worker, the disk or the destination fails": "Processes of their own; the next run is given the same ids.",
    "Malformed and odd responses": "A result that is not mentioned was loaded as it came.",
    "Malformed and odd ids": "The id is sent percent-encoded and bound as a parameter in SQL.",
    "Too much": "`max_response_mb` = 1 for the bodies.",
    "Without end": "`max_response_mb` as it is, 64; a run in which nothing happens holds 220 MB.",
}


class Seen(NamedTuple):
    """What happened, what the run did, where it is seen."""

    what: str
    did: str
    where: str


def check(section: str, rows: Sequence[Seen]) -> None:
    """Compare `rows` with the section of the file, or write them into it."""
    made = _section(section, rows)
    written = _written()
    if WRITES:
        _write(section, made)
    elif written.get(section) != made or not FILE.read_text(encoding="utf-8").startswith(INTRODUCTION):
        there = set(written.get(section, "").splitlines())
        changed = "\n".join(line for line in made.splitlines() if line not in there)
        raise AssertionError(f"{FILE.name} is stale: run {COMMAND}\n{changed}")


def check_row(section: str, row: Seen) -> None:
    """Compare one `row` with the section of the file, or write it there: for tests that have one row each."""
    written = _written().get(section, "")
    lines = [line for line in written.splitlines() if line.startswith("| ")][1:]
    if WRITES:
        head = f"| {row.what} |"
        others = [line for line in lines if not line.startswith(head)]
        _write(section, _table(section, [*others, _line(row)]))
    elif _line(row) not in lines:
        raise AssertionError(f"{FILE.name} is stale: run {COMMAND}\n{_line(row)}")


def _write(section: str, made: str) -> None:
    written = _written()
    sections = {title: written.get(title, "") for title in SECTIONS} | {section: made}
    FILE.parent.mkdir(exist_ok=True)
    text = "\n".join([INTRODUCTION, *(part for part in sections.values() if part)])
    FILE.write_text(text, encoding="utf-8")


def _written() -> dict[str, str]:
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)[1:]
    return {title: f"## {title}\n{body.rstrip()}\n" for title, body in zip(parts[::2], parts[1::2], strict=True)}


def _section(title: str, rows: Sequence[Seen]) -> str:
    return _table(title, [_line(row) for row in rows])


def _line(row: Seen) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _table(title: str, lines: Sequence[str]) -> str:
    head = _line(Seen("what happened", "what the run did", "where you see it"))
    return "\n".join([f"## {title}", "", SECTIONS[title], "", head, "|---|---|---|", *lines]) + "\n"


class BatchRows(NamedTuple):
    """What the tables have of one batch: whole rows without nulls, the batch id and the time of the load."""

    batches: list[Row]
    stats: list[Row]
    results: list[Row]
    errors: list[Row]

    @property
    def error(self) -> tuple[str, int | None, str]:
        """Kind, HTTP status and message of the one error row of a batch that is in no other table."""
        assert not [*self.batches, *self.stats, *self.results]
        (row,) = self.errors
        return row["kind"], row.get("http_status"), row["message"]


def batch_rows(warehouse: Warehouse) -> dict[str, BatchRows]:
    """Return what the tables have of every batch."""
    found: dict[str, BatchRows] = {}
    for position, table in enumerate(("batches", "batch_stats", "phone_results", "batch_errors")):
        for row in warehouse.rows(table):
            seen = {column: value for column, value in row.items() if value is not None and column != "batch_id"}
            found.setdefault(row["batch_id"], BatchRows([], [], [], []))[position].append(seen)
    return found


def shown(value: object) -> str:
    """Show a value in a table: short, on one line."""
    text = value if isinstance(value, str) else str(value)
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    text = text if len(text) <= 80 else f"{text[:24]}... ({len(text):,} characters)"
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def shown_error(rows_of_batch: BatchRows, says: str = "") -> str:
    """Show the error row; of a connection's error only what is the same on every machine, and what it `says`."""
    kind, status, message = rows_of_batch.error
    assert says in message
    message = (
        ": ".join([message.split(":")[0], *([f"... {says}"] if says else [])]) if kind == "connection" else message
    )
    return f"`batch_errors`: `{kind}`, {status or 'no status'}: {shown(message)}"


def shown_loaded(rows_of_batch: BatchRows, plain: BatchRows) -> str:
    """Show in what the rows of a loaded batch are not those of a `plain` one."""
    message = [
        f"`{table}.{column_shown(column)}` is {shown(value)}"
        for table, rows, usual in (
            ("batches", rows_of_batch.batches, plain.batches),
            ("batch_stats", rows_of_batch.stats, plain.stats),
            ("phone_results", rows_of_batch.results, plain.results),
        )
        for column, value in sorted(_differences(rows, usual).items())
    ]
    if len(rows_of_batch.results) != len(plain.results):
        message.append(f"`phone_results` has {len(rows_of_batch.results):,} rows")
    return "; ".join(message) or "all tables, as ever"


def column_shown(name: str) -> str:
    """Show the name of a column, short."""
    return name if len(name) <= 60 else f"{name[:24]}... ({len(name)} characters)"


def _differences(rows: Sequence[Row], plain: Sequence[Row]) -> Mapping[str, object]:
    found: dict[str, object] = {}
    for row, usual in zip(rows, plain, strict=False):
        found |= {column: value for column, value in row.items() if usual.get(column) != value}
        found |= dict.fromkeys(usual.keys() - row.keys(), "null")
    return found
