"""The backfill on two workers, one of which is killed: every row as it was served, in the lake's way and straight."""

import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL
from typing import Any

import duckdb
import pytest

from enrow_source.testing import SimulatedEnrow, bodies
from tests.destinations.served import Body, decoded, in_order, rows_of
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)
pytestmark = pytest.mark.timeout(300)

BATCHES = 60
SHARDS = 3


def serve(api: SimulatedEnrow) -> list[Body]:
    served = [bodies.completed(f"batch-{number}", 5 + number % 30) for number in range(BATCHES)]
    for body in served:
        api.respond(body["general"]["id"], body)
    Path("ids.txt").write_text("\n".join(body["general"]["id"] for body in served), encoding="utf-8")
    api.latency_s = 0.2
    return served


def start(commands: Path, environ: dict[str, str], *options: str) -> subprocess.Popen[str]:
    command = [str(commands / "python"), "-m", "enrow_source", "backfill", "--batch-ids-file", "ids.txt"]
    return subprocess.Popen(
        [*command, f"--shards={SHARDS}", "--connections=2", *options],
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def kill_a_worker(backfill: subprocess.Popen[str], api: SimulatedEnrow) -> None:
    """Kill one of the two when both have begun to load."""
    deadline = time.monotonic() + 120
    while len(api.requests) < 8:
        assert backfill.poll() is None, backfill.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    listed = subprocess.run(
        ["/bin/ps", "-ww", "--ppid", str(backfill.pid), "-o", "pid=,args="], capture_output=True, text=True, check=True
    ).stdout
    workers = [int(line.split()[0]) for line in listed.splitlines() if "spawn_main" in line]
    assert len(workers) == 2, listed
    os.kill(workers[0], SIGKILL)


def assert_as_served(served: list[Body], query: Callable[[str], list[dict[str, Any]]]) -> None:
    for table, expected in rows_of(served).items():
        rows = [
            {name: value for name, value in row.items() if name not in ("first_seen_at", "fetched_at", "_dlt_load_id")}
            for row in query(f"SELECT * FROM enrow_data.{table}")
        ]
        assert in_order(decoded(row) for row in rows) == expected, table


def fetches_of(api: SimulatedEnrow) -> Counter[str]:
    """Count the fetches of each batch, and not who asks for the balance."""
    return Counter(request.batch_id for request in api.requests if request.batch_id is not None)


def duckdb_rows(sql: str) -> list[dict[str, Any]]:
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        found = connection.execute(sql)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def test_killed_worker_loses_nothing(orchestration: Path, environ: dict[str, str], api: SimulatedEnrow) -> None:
    """A killed worker loses nothing, and what is loaded is not fetched again."""
    served = serve(api)
    # Or DuckDB would download it, to read the lake's Delta tables with.
    install = "import duckdb_extensions; duckdb_extensions.import_extension('delta')"
    subprocess.run([str(orchestration / "python"), "-c", install], env=environ, check=True)
    backfill = start(orchestration, environ, "--lake", "lake")
    kill_a_worker(backfill, api)
    _, message = backfill.communicate(timeout=200)
    assert backfill.returncode == 0, message
    assert_as_served(served, duckdb_rows)
    before = fetches_of(api)
    assert max(before.values()) == 2  # the killed worker's, and no other's
    again = start(orchestration, environ, "--lake", "lake")
    _, message = again.communicate(timeout=200)
    assert again.returncode == 0, message
    assert fetches_of(api) == before
    assert_as_served(served, duckdb_rows)


def test_backfill_straight_into_postgres(
    orchestration: Path, environ: dict[str, str], api: SimulatedEnrow, postgres: Postgres
) -> None:
    """A backfill straight into a warehouse that takes several writers."""
    served = serve(api)
    postgres.query("DROP SCHEMA IF EXISTS enrow_data CASCADE")
    environ["DESTINATION__POSTGRES__CREDENTIALS"] = postgres.url
    backfill = start(orchestration, environ, "--destination", "postgres")
    kill_a_worker(backfill, api)
    _, message = backfill.communicate(timeout=200)
    assert backfill.returncode == 0, message
    assert_as_served(served, postgres.query)
    staging = postgres.query(
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE '%staging_enrow%'"
    )
    assert staging == []


def test_duckdb_wants_a_lake(orchestration: Path, environ: dict[str, str]) -> None:
    ended = start(orchestration, environ)
    _, message = ended.communicate(timeout=60)
    assert ended.returncode == 2
    assert "DuckDB has one writer: name a folder or bucket for the workers with --lake" in message
