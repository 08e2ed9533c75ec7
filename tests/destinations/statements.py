"""`python -m tests.destinations.statements TARGET`: what scheduled runs send to a warehouse, from its client's own log.

Statements of Snowflake, jobs of BigQuery, statements in the log of a Postgres server. Prints the counts as JSON.
"""

import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import dlt

from enrow_source import enrow_source, run
from enrow_source.testing import SimulatedEnrow, bodies
from tests.destinations import targets

LOGS: Final = {
    "snowflake": ("snowflake.connector.cursor", re.compile(r"^running query \[")),
    "bigquery": ("urllib3.connectionpool", re.compile(r'"POST \S*/(?:jobs|queries)\?')),
}
"""The logger of each client, and what its line of a statement looks like."""

_STATEMENT: Final = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)")

RUNS: Final = ("nothing new", "an ongoing batch again, nothing changed", "one new batch into 3 known")


def counts(destination: Callable[[], Any], counter: Callable[[], int], folder: Path) -> dict[str, list[int]]:
    """Count what `pipeline.run` of the source and `run()` send in each of the runs."""
    found: dict[str, list[int]] = {name: [] for name in RUNS}
    for way in ("plain", "safe"):
        with SimulatedEnrow() as api:
            options: dict[str, Any] = {"enrow_api_key": api.api_key, "enrow_base_url": api.url}

            def load(*ids: str, way: str = way, options: dict[str, Any] = options) -> int:
                before = counter()
                pipeline = dlt.pipeline(
                    f"statements_{way}", destination=destination(), dataset_name=way, pipelines_dir=str(folder)
                )
                if way == "plain":
                    pipeline.run(enrow_source(ids, **options))
                else:
                    run(ids, pipeline=pipeline, **options)
                return counter() - before

            done = [api.respond(f"done-{n}", bodies.completed(f"done-{n}", 50)) for n in range(3)]
            load(*done)
            found[RUNS[0]].append(load(*done))
            found[RUNS[2]].append(load(*done, api.respond("new", bodies.completed("new", 50))))
            load(api.respond("ongoing", bodies.ongoing("ongoing", 9, 3)))
            found[RUNS[1]].append(load())
    return found


class _Counter(logging.Handler):
    def __init__(self, name: str) -> None:
        super().__init__(logging.DEBUG)
        logger, self.pattern = LOGS[name]
        self.count = 0
        logging.getLogger(logger).setLevel(logging.DEBUG)
        logging.getLogger(logger).addHandler(self)
        logging.getLogger(logger).propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.count += bool(self.pattern.search(record.getMessage()))


@contextmanager
def started(name: str, folder: Path) -> Iterator[tuple[Callable[[], Any], Callable[[], int]]]:
    """Start a destination; yields what makes it, and what counts the statements that it has been sent."""
    if name != "postgres":
        with targets.TARGETS[name].start(folder) as running:
            os.environ |= running.environ
            counter = _Counter(name)
            yield running.destination, lambda: counter.count
        return
    from tests.support.postgres import Postgres  # noqa: PLC0415 - not every environment has the server

    with Postgres() as server:
        server.query("ALTER ROLE postgres SET log_statement = 'all'")

        def sent() -> int:
            log = server.server.log.read_bytes().decode()
            parts = [part.strip() for message in _STATEMENT.findall(log) for part in message.split(";")]
            return sum(bool(part) and not part.startswith("DISCARD") for part in parts)

        yield lambda: dlt.destinations.postgres(server.url), sent


def main() -> int:
    """Count at the destination that is named."""
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["DLT_DATA_DIR"] = folder
        with started(sys.argv[1], Path(folder)) as (destination, counter):
            sys.stdout.write(f"{json.dumps(counts(destination, counter, Path(folder)))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
