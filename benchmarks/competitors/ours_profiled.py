"""Loads as `ours` does, and prints as JSON what CPU each part took: run by `benchmarks.profile`.

Steps are measured by the CPU time of the whole process, what runs in the source's threads by the CPU time of its
thread; the rest of a step is dlt's own part of it.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final

STARTED: Final = time.process_time()

from dlt.destinations import job_client_impl  # noqa: E402 - importing is a part that is measured

from enrow_source import enrow_source  # noqa: E402
from enrow_source import source as flow  # noqa: E402
from enrow_source.api.client import EnrowClient  # noqa: E402
from enrow_source.fetch import batches  # noqa: E402
from enrow_source.fetch.results import Chunk  # noqa: E402

from .ours import build_pipeline  # noqa: E402

_SHAPING: Final = ("batches_table", "batch_stats_table", "phone_results_ledger_table", "batch_errors_table")


class Sections:
    """CPU seconds by part; parts may run in several threads at a time."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self._lock = Lock()
        self._running: dict[str, int] = {}
        self._began: dict[str, float] = {}

    def time_function(self, owner: Any, name: str, part: str) -> None:  # noqa: ANN401 - a class or a module
        """Add the thread's CPU time in `owner.name` to `part`."""
        function: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as wrapped
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._add(part, time.thread_time() - began)

        setattr(owner, name, timed)

    def time_statements(self, owner: Any, name: str, part: str) -> None:  # noqa: ANN401 - a class
        """Add to `part` the process's CPU time while any `owner.name` runs: DuckDB works in threads of its own."""
        function: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as wrapped
            with self._lock:
                self._running[part] = self._running.get(part, 0) + 1
                self._began.setdefault(part, time.process_time())
            try:
                return function(*args, **kwargs)
            finally:
                with self._lock:
                    self._running[part] -= 1
                    ended = self._began.pop(part) if not self._running[part] else None
                if ended is not None:
                    self._add(part, time.process_time() - ended)

        setattr(owner, name, timed)

    @contextmanager
    def step(self, part: str, *inside: str) -> Iterator[None]:
        """Add the process's CPU time in the block to `part`, without that of the parts `inside` it."""
        began, before = time.process_time(), sum(self.cpu_s.get(name, 0) for name in inside)
        yield
        within = sum(self.cpu_s.get(name, 0) for name in inside) - before
        self._add(part, time.process_time() - began - within)

    def _add(self, part: str, cpu_s: float) -> None:
        with self._lock:
            self.cpu_s[part] = self.cpu_s.get(part, 0) + cpu_s


def main() -> None:
    """Load the batches step by step."""
    url, ids_file = sys.argv[1:3]
    sections = Sections()
    sections.cpu_s["import"] = time.process_time() - STARTED
    sections.time_function(EnrowClient, "fetch_batch", "download")
    sections.time_function(batches, "parse_batch", "parse")
    sections.time_function(batches, "phone_results_table", "shape")
    for name in _SHAPING:
        sections.time_function(flow, name, "shape")
    sections.time_function(Chunk, "write_results", "write")
    sections.time_statements(job_client_impl.SqlLoadJob, "run", "merge")
    batch_ids = Path(ids_file).read_text(encoding="utf-8").split()
    with sections.step("start"):
        pipeline = build_pipeline()
        source = enrow_source(batch_ids, enrow_api_key="key", enrow_base_url=url)
        pipeline.sync_destination()
    with sections.step("extract", "download", "parse", "shape", "write"):
        pipeline.extract(source)
    with sections.step("normalise"):
        pipeline.normalize()
    with sections.step("load", "merge"):
        pipeline.load()
    sections.cpu_s["rest"] = time.process_time() - sum(sections.cpu_s.values())
    sys.stdout.write(f"\n{json.dumps(sections.cpu_s)}\n")


if __name__ == "__main__":
    main()
