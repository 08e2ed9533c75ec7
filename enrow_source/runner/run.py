"""The safe run: recover, load, report."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import dlt
from dlt.common import logger
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.exceptions import SignalReceivedException
from dlt.common.pipeline import LoadInfo
from dlt.extract import DltResource, DltSource
from dlt.pipeline.exceptions import PipelineStepFailed

from ..api.account import fetch_account
from ..destination.comments import comment_tables
from ..destination.credits import Credits, compare_credits, credits_row, least_credits
from ..destination.load_lock import held_database
from ..destination.packages import held_folder
from ..destination.row_log import append_rows
from ..errors import ConfigurationError
from ..source import enrow_source
from ..tables.schema import ACCOUNT_CREDITS
from .alerts import alert
from .causes import root_cause
from .defaults import apply_defaults, prune_completed_loads
from .hints import add_hints
from .metrics import check_metrics_file, write_metrics
from .pipeline import build_pipeline
from .recover import has_begun_load, load_left, recover_pending_loads
from .report import RunReport, Start, failure_of, report_of
from .run_log import fail_without_row, run_row
from .signals import stopped_by_signals


def run(
    batch_ids: Iterable[str | DltResource] = (),
    *,
    pipeline: dlt.Pipeline | None = None,
    tables: Sequence[str] = (),
    trigger: str = "python",
    metrics_file: Path | None = None,
    **options: Any,  # noqa: ANN401 - passed on as they are
) -> RunReport:
    """Load the batches and those still ongoing; `options` go to `enrow_source`, `tables` selects some of its tables.

    What the run did is a row of `enrow_runs`, with `trigger`, who started it, and OpenMetrics text in `metrics_file`,
    where one is named; also where the run fails after it has begun.

    Raises:
        BusyError: Another run is at work in the working folder, or in a file of DuckDB for too long.
        ConfigurationError: Something to fix in the arguments or the settings; nothing was requested.
        PipelineStepFailed: The run ended; what was loaded before is as it was.
    """
    pipeline = pipeline or build_pipeline()
    if not isinstance(pipeline, dlt.Pipeline):
        raise ConfigurationError(f"pipeline is {pipeline!r:.80}: pass build_pipeline({pipeline!r:.40})")
    if metrics_file is not None:
        check_metrics_file(metrics_file)
    apply_defaults(pipeline)
    start = Start(trigger)
    with held_folder(pipeline), held_database(pipeline), stopped_by_signals() as stop:
        try:
            source = enrow_source(batch_ids, **{"stop": stop} | options)
            least_credits()
        except (ConfigurationError, ConfigurationException) as error:
            raise error.with_traceback(None) from None  # the frames of dlt that it came through hold the key
        try:
            recovered, info = _load(pipeline, source.with_resources(*tables) if tables else source, stop)
        except PipelineStepFailed as error:
            if isinstance(cause := root_cause(error), KeyboardInterrupt):
                raise cause from None  # a second Ctrl-C ends at once
            add_hints(pipeline, error)
            message = f"{type(root_cause(error)).__name__} in {error.step}"
            report = failure_of(pipeline, message, start, is_config_error=is_config_error(error))
            _record_outcome(pipeline, report, metrics_file, options)
            raise
        comment_tables(pipeline, info)
        prune_completed_loads(pipeline)
        report = report_of(pipeline, source, info, recovered, start)
        return _record_outcome(pipeline, report, metrics_file, options)


def _load(pipeline: dlt.Pipeline, source: DltSource, stop: Event) -> tuple[int, LoadInfo]:
    recovered = recover_pending_loads(pipeline)
    try:
        return recovered, pipeline.run(source)
    except PipelineStepFailed as error:
        if not isinstance(root_cause(error), SignalReceivedException) or has_begun_load(pipeline):
            raise
        # dlt leaves off between two files; what it has is loaded all the same.
        stop.set()
        return recovered, load_left(pipeline)


def _record_outcome(
    pipeline: dlt.Pipeline, report: RunReport, metrics_file: Path | None, options: Mapping[str, Any]
) -> RunReport:
    has_ended_well = report.error is None and report.stop_reason is None
    if metrics_file is not None:
        report = _write_metrics(report, metrics_file)
    run_id, balance = str(uuid.uuid4()), Credits()
    rows = [run_row(report, run_id)]
    try:
        if has_ended_well:  # else it failed, is in a hurry, or the API is down
            left = fetch_account(options.get("enrow_base_url"), options.get("enrow_api_key")).credits
            rows.append(credits_row("run", run_id, left))
            balance = compare_credits(left)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run has ended
        logger.warning(f"no row in {ACCOUNT_CREDITS.name} for this run, the balance is not known: {error}")
    finally:
        logged = fail_without_row(report, append_rows(pipeline, rows))
    if logged != report and metrics_file is not None:
        logged = _write_metrics(logged, metrics_file)
    alert(pipeline, logged, balance)
    return logged


def _write_metrics(report: RunReport, file: Path) -> RunReport:
    """Write the metrics; return the report, which has failed where that does: what is loaded stays."""
    try:
        write_metrics(report, file)
    except OSError as error:
        logger.error(f"no metrics of this run: {error}")
        return replace(report, error=report.error or f"{type(error).__name__} in metrics")
    return report


def is_config_error(error: PipelineStepFailed) -> bool:
    """Whether the run failed for something to fix in the call or in the settings."""
    return isinstance(root_cause(error), ConfigurationError | ConfigurationException)
