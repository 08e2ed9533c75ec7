"""The log of a run: a line for each record, as text, or as JSON for a machine to read."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from ..destination.session import settings_folder


class _OneLine(logging.Filter):
    """Keeps dlt's log to a line for each record: what ends the run is printed at its end."""

    in_options: Callable[[str], str] = staticmethod(str)

    def filter(self, record: logging.LogRecord) -> bool:
        """Cut the record down to its first line."""
        record.msg, record.args, record.exc_info = self.in_options(record.getMessage().split("\n", 1)[0]), (), None
        return True


class _JsonLines(logging.Formatter):
    """A JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger and message."""
        return json_line(record.levelname, record.getMessage(), logger=record.name, created=record.created)


def json_line(level: str, message: str, *, created: float | None = None, **more: object) -> str:
    """Return a log line as JSON: `time` (ISO 8601, UTC), `level`, `message`, and what else there is."""
    at = datetime.now(UTC) if created is None else datetime.fromtimestamp(created, UTC)
    return json.dumps({"time": at.isoformat(), "level": level, "message": message, **more}, default=str)


_ONE_LINE = _OneLine()


def set_up_logs(*, as_json: bool, in_options: Callable[[str], str] = str) -> None:
    """Make dlt's log, in which the source warns, one of a line for each record, in the words of the command."""
    _ONE_LINE.in_options = in_options
    settings_folder()  # makes the handler, which would else come later, with a format of its own
    log = logging.getLogger("dlt")
    log.addFilter(_ONE_LINE)
    if as_json:
        for handler in log.handlers:
            handler.setFormatter(_JsonLines())
