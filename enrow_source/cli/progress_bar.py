"""The bar that a terminal shows while a run is under way; `rich`, which draws it, is there with dlt."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import rich.progress
from dlt.common.runtime.collector_base import Collector
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from ..fetch.results import Progress
from .progress import message

_COUNTED: Final = {"Files": "normalizing, files", "Jobs": "loading, files"}
"""What dlt counts up to a total in its own steps; while it extracts, the source counts its fetches."""


class BarDisplay(Collector):
    """Draws a bar for each step. Give it to `dlt.pipeline` as `progress`, and its `note` to `enrow_source`."""

    def note(self, fetches: Progress) -> None:
        """Draw the fetches of the batches."""
        self._draw("batches", fetches.fetched, fetches.due, message(fetches))

    def update(  # noqa: PLR0913, PLR0917 - dlt's signature
        self,
        name: str,
        inc: int = 1,
        total: int | None = None,
        inc_total: int | None = None,
        message: str | None = None,  # noqa: ARG002 - dlt's signature
        label: str | None = None,
    ) -> None:
        """Draw the files that are normalized or loaded."""
        if name in _COUNTED and not label:
            self._total += (total or 0) + (inc_total or 0)
            self._done += inc
            self._draw(_COUNTED[name], self._done, self._total)

    def _start(self, step: str) -> None:  # noqa: ARG002 - dlt's signature
        self._done, self._total = 0, 0
        self._open = ExitStack()
        self._bar = rich.progress.Progress(
            TextColumn("{task.description}"),
            BarColumn(None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[more]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=4,
            expand=True,
        )
        self._open.enter_context(self._bar)
        self._open.enter_context(_log_above_the_bar())

    def _stop(self) -> None:
        self._open.close()

    def _draw(self, what: str, done: int, total: int, more: str = "") -> None:
        if not self._bar.task_ids:
            self._bar.add_task(what, completed=done, total=total, more=more)
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, more=more)


@contextmanager
def _log_above_the_bar() -> Iterator[None]:
    """Have dlt's log, which holds the stream that was there before, go through the one that spares the bar."""
    moved = [(h, h.stream) for h in logging.getLogger("dlt").handlers if isinstance(h, logging.StreamHandler)]
    for handler, _ in moved:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler, stream in moved:
            handler.setStream(stream)
