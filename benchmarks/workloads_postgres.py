"""The workloads on a real Postgres: what its rows cost client and server, and the statements of a scheduled run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from .measure import Measured, RunFailedError
from .runs import Place, batch_ids, medians, place
from .served import Api, served
from .workloads import FULL_BATCH, Figure, Outcome, Scale

if TYPE_CHECKING:
    from tests.support.postgres import Postgres

_NAMES: Final = ("ours_postgres", "copy_postgres")
_STATEMENT: Final = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def rows(scale: Scale) -> Outcome:
    """20 full batches into Postgres, beside COPY into the table and nothing else."""
    count = scale.of(20)
    with served(count, FULL_BATCH) as api, _server() as server:

        def load(competitor: str) -> Measured:
            before_s = _cpu_s(server.server.get_pid())
            with place() as somewhere:
                measured = somewhere.run(competitor, batch_ids(count), api, database=server.url)
            measured = replace(measured, cpu_s=measured.cpu_s + _cpu_s(server.server.get_pid()) - before_s)
            loaded = server.query("SELECT count(*) AS n, count(DISTINCT batch_id) AS b FROM enrow_data.phone_results")
            server.query("DROP SCHEMA enrow_data CASCADE")
            server.query("DROP SCHEMA IF EXISTS enrow_data_staging CASCADE")
            if loaded != [{"n": count * FULL_BATCH, "b": count}]:
                raise RunFailedError(f"{competitor} loaded {loaded}")
            return measured

        found = medians({name: load(name) for name in _NAMES} for _ in range(scale.short_rounds))
    ratio = found["ours_postgres"].cpu_s / found["copy_postgres"].cpu_s
    workload = "Postgres, 60,000 new rows"
    return Outcome([Figure(workload, "CPU of client and server, ours / COPY alone", "at most", 2.5, ratio)], found)


def statements(_: Scale) -> Outcome:
    """What a scheduled run sends to Postgres, counted in the server's log."""
    from enrow_source.testing import SimulatedEnrow, bodies  # noqa: PLC0415 - as for the server

    counts: dict[str, tuple[int, int]] = {}
    with _server() as server, SimulatedEnrow("key") as api:
        server.query("ALTER ROLE postgres SET log_statement = 'all'")
        done = [api.respond(f"done-{number}", bodies.completed(f"done-{number}", 50)) for number in range(3)]
        new = api.respond("new", bodies.completed("new", 50))
        ongoing = api.respond("ongoing", bodies.ongoing("ongoing", 9, 3))
        for name in ("ours_postgres", "ours_command"):
            with place() as somewhere:

                def load(*ids: str, competitor: str = name, where: Place = somewhere) -> int:
                    return _sent(
                        server,
                        lambda: where.run(competitor, ids, Api(urlsplit(api.url).port or 0), database=server.url),
                    )

                load(*done)
                of_new = load(*done, new)
                load(*done, new, ongoing)
                load(*done, new, ongoing)  # the first merge makes the staging tables
                counts[name] = of_new, load(*done, new, ongoing)
            server.query("DROP SCHEMA enrow_data CASCADE")
            server.query("DROP SCHEMA IF EXISTS enrow_data_staging CASCADE")
    return Outcome(
        [
            Figure(f"Postgres, {scenario}", f"statements, {name}", "at most", target, counts[name][number])
            for number, (scenario, target) in enumerate(_SCENARIOS)
            for name in counts
        ]
    )


_SCENARIOS: Final = (("one new batch into 3 known", 24), ("an ongoing batch again, nothing changed", 16))


def _sent(server: Postgres, do: Callable[[], object]) -> int:
    """Count the statements in the server's log while `do` runs, without `DISCARD`."""
    before = server.server.log.stat().st_size
    do()
    log = server.server.log.read_bytes()[before:].decode()
    sent = [part.strip() for message in _STATEMENT.findall(log) for part in message.split(";") if part.strip()]
    return sum(not statement.startswith("DISCARD") for statement in sent)


@contextmanager
def _server() -> Iterator[Postgres]:
    from tests.support.postgres import Postgres  # noqa: PLC0415 - the harness is to stay small for the other workloads

    with Postgres() as server:
        yield server


def _cpu_s(postmaster: int | None) -> float:
    """Return the CPU seconds of the server: of its first process, those it waited for, and those that still run."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, fields = stat.read_text(encoding="utf-8").rsplit(")", 1)
        except OSError:
            continue  # it has ended in the meantime
        _, parent, *values = fields.split()
        if str(postmaster) in (parent, stat.parent.name):
            ticks += sum(int(value) for value in values[9:13])
    return ticks / _TICKS_PER_S
