"""What a scheduled run costs: the statements that a real Postgres logs, and the clients that are imported."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dlt
import pytest

from enrow_source.runner.pipeline import build_pipeline
from enrow_source.runner.run import run
from enrow_source.testing import SimulatedEnrow, bodies
from tests.support import REPOSITORY
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)

DATASET = "statements"
UNCHANGED = 16
"""Statements of a run with an ongoing batch whose answer has not changed."""


class Log:
    """The statements that were sent since the last call."""

    def __init__(self, server: Postgres) -> None:
        self._file = server.server.log
        self._seen = self._file.stat().st_size

    def statements(self) -> list[str]:
        text = self._file.read_bytes()[self._seen :].decode()
        self._seen += len(text.encode())
        found = re.findall(r"LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)", text)
        return [statement.strip() for sql in found for statement in sql.split(";") if statement.strip()]


@pytest.fixture(scope="module")
def logged() -> Iterator[Postgres]:
    """A server of its own, since what the others do would be in its log."""
    with Postgres() as server:
        server.query("ALTER ROLE postgres SET log_statement = 'all'")
        yield server
        server.query(f"DROP SCHEMA IF EXISTS {DATASET} CASCADE")


def on(table: str, statements: list[str]) -> list[str]:
    return [sql for sql in statements if f'"{DATASET}"."{table}"' in sql]


def on_results(statements: list[str]) -> list[str]:
    """Leave out the statement on the ledger, in which the results have to exist and nothing is read of them."""
    nothing = f'FROM "{DATASET}"."phone_results" WHERE 1 = 0'
    return [sql for sql in on("phone_results", statements) if nothing not in sql]


def test_scheduled_run_reads_the_ledger_once(
    logged: Postgres, api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduled run takes one statement on the ledger and none on the results."""
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)

    def pipeline() -> dlt.Pipeline:
        return build_pipeline(dlt.destinations.postgres(logged.url), DATASET)

    done = [api.respond(f"done-{number}", bodies.completed(f"done-{number}", 50)) for number in range(3)]
    run(done, pipeline=pipeline())
    log = Log(logged)

    # Nothing new, and nothing ongoing.
    assert run(done, pipeline=pipeline()).fetched == 0
    sent = log.statements()
    assert len([sql for sql in on("phone_results_ledger", sent) if "last_fetched" in sql]) == 1, "\n".join(sent)
    assert not on_results(sent)
    written = [sql for sql in sent if re.match(r"(?i)(INSERT|DELETE|UPDATE|COPY|TRUNCATE)", sql) and "_dlt" not in sql]
    rows_of_a_run = [f'INSERT INTO "{DATASET}"."{table}"' for table in ("enrow_runs", "account_credits")]
    assert [sql.split("(")[0].strip() for sql in written] == rows_of_a_run
    assert not [sql for sql in sent if sql.startswith(("COMMENT", "CREATE"))]

    # A batch that is still ongoing: small tables alone change.
    ongoing = api.respond("ongoing", bodies.ongoing("ongoing", 9, 3))
    assert run([*done, ongoing], pipeline=pipeline()).ongoing == 1
    log.statements()
    assert run([], pipeline=pipeline()).ongoing == 1
    sent = log.statements()
    reads = [sql for sql in on("phone_results_ledger", sent) if "last_fetched" in sql]
    assert len(reads) == 1
    assert not on_results(sent), "\n".join(on_results(sent))
    assert len([sql for sql in sent if not sql.startswith("DISCARD")]) <= UNCHANGED, "\n".join(sent)

    # New results: the load searches for rows of their batches, by the index, and appends.
    run([*done, api.respond("new", bodies.completed("new", 50))], pipeline=pipeline())
    sent = on_results(log.statements())
    verbs = sorted({sql.split()[0].upper() for sql in sent})
    assert verbs == ["COPY", "SELECT"], "\n".join(sent)
    (search,) = (sql for sql in sent if sql.startswith("SELECT"))
    assert "batch_id" in search


@pytest.mark.slow
def test_no_unused_destination_is_imported(api: SimulatedEnrow, tmp_path: Path) -> None:
    """A usual run imports no client of a destination that it does not use."""
    batch_id = api.respond("one", bodies.completed("one", 3))
    script = (
        f"import sys; from enrow_source import run; run([{batch_id!r}], enrow_base_url={api.url!r})\n"
        "heavy = ('psycopg2', 'google.cloud', 'snowflake', 'deltalake', 'boto3', 's3fs', 'gcsfs')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    environ = {"PYTHONPATH": str(REPOSITORY), "ENROW_API_KEY": api.api_key, "DLT_DATA_DIR": str(tmp_path / "dlt")}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"
