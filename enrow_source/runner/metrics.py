"""OpenMetrics text of a run, for the textfile collector of Prometheus' node_exporter."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..errors import ConfigurationError
from .report import RunReport


def check_metrics_file(file: Path) -> None:
    """Raise ConfigurationError where the file cannot be written."""
    try:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        new = _beside(file)
        new.touch()
        new.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"the metrics file {file} cannot be written: {error.strerror}: name one in a folder that is there and that"
            " this user may write to"
        ) from None


def write_metrics(report: RunReport, file: Path) -> None:
    """Write the metrics of the last run, at once, so that nobody reads half of them; raises OSError.

    https://prometheus.io/docs/specs/om/open_metrics_spec/
    """
    new = _beside(file)
    new.write_text(metrics_of(report), encoding="utf-8")
    os.replace(new, file)  # noqa: PTH105 - Path.replace does the same


def _beside(file: Path) -> Path:
    return file.with_name(f".{file.name}.new")


def metrics_of(report: RunReport) -> str:
    """Return the metrics as OpenMetrics text."""
    outcomes = ("completed", "ongoing", "failed", "other", "unreadable")
    families: list[tuple[str, str, dict[str, float]]] = [
        ("batches", "Batches that were fetched.", {f'{{outcome="{n}"}}': getattr(report, n) for n in outcomes}),
        ("stuck_batches", "Batches that have been pending for too long.", {"": report.stuck}),
        ("invalid_ids", "Ids, and files of ids, that could not be read.", {"": report.invalid_ids}),
        ("submissions_in_doubt", "Submissions that batches contradict.", {"": report.submissions_in_doubt}),
        ("rows", "Rows that were loaded.", {f'{{table="{table}"}}': count for table, count in report.rows.items()}),
        ("requests", "Requests, also those that were tried again.", {"": report.requests}),
        ("retries", "Requests that repeated another one.", {"": report.retries}),
        ("received_bytes", "Bytes of answers, as they came.", {"": report.bytes_received}),
        ("step_seconds", "Duration of each step.", {f'{{step="{n}"}}': s for n, s in report.step_s.items()}),
        ("duration_seconds", "Duration of the run.", {"": report.duration_s}),
        ("end_timestamp_seconds", "When the run ended.", {"": report.ended_at.timestamp()}),
        ("exit_code", "Exit code of the command.", {"": int(report.exit_code)}),
    ]
    lines = []
    for name, meaning, samples in families:
        metric = f"enrow_last_run_{name}"
        lines += [f"# TYPE {metric} gauge", f"# HELP {metric} {meaning}"]
        lines += [f"{metric}{labels} {value:.17g}" for labels, value in samples.items()]
    return "\n".join([*lines, "# EOF", ""])
