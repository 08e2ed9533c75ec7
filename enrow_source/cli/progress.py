"""Progress of a run, for who waits for it: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from dlt.common.runtime.collector_base import Collector

from ..fetch.results import Progress
from .logs import json_line

LINE_EVERY_S: Final = 30.0


class Lines:
    """Writes a line to the standard error every `every_s` seconds, and none in a shorter run."""

    def __init__(self, *, as_json: bool, every_s: float = LINE_EVERY_S) -> None:
        self._as_json, self._every_s, self._last_s = as_json, every_s, 0.0

    def note(self, fetches: Progress) -> None:
        """Write a line about the fetches, where the last line is long ago."""
        if fetches.seconds - self._last_s < self._every_s:
            return
        self._last_s = fetches.seconds
        line = f"{fetches.fetched:,} of {fetches.due:,} batches, {message(fetches)}, {fetches.left_s:.0f} s left"
        if self._as_json:
            rates = {"rows_per_s": fetches.rows_per_s, "left_s": fetches.left_s}
            line = json_line("INFO", "progress", **asdict(fetches), **rates)
        print(line, file=sys.stderr, flush=True)


def message(fetches: Progress) -> str:
    """Print what a bar does not show."""
    return f"{fetches.ongoing:,} ongoing, {fetches.rows:,} rows, {fetches.rows_per_s:,.0f} rows/s"


def display(*, as_json: bool) -> tuple[Collector | None, Callable[[Progress], None]]:
    """Choose the display: what dlt takes as `progress`, None for nothing, and what the source does."""
    if sys.stderr.isatty() and not as_json:
        from .progress_bar import BarDisplay  # noqa: PLC0415 - a tenth of a second, which a scheduler saves

        bar = BarDisplay()
        return bar, bar.note
    return None, Lines(as_json=as_json).note
