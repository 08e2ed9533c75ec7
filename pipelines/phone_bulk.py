"""Load bulk phone searches into a warehouse: `python pipelines/phone_bulk.py BATCH_ID ...`.

Schedule it as often as you like: a run looks at the ids it is given and at the batches that were still ongoing,
fetches none twice, and never waits for one.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import Any

import dlt
from dlt.common import logger
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination import TDestinationReferenceArg
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import SignalReceivedException
from dlt.common.pipeline import LoadInfo
from dlt.common.storages import LoadStorage
from dlt.common.storages.load_package import LoadPackageInfo, PackageStorage
from dlt.extract import DltResource, DltSource
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import ConfigurationError, EnrowError, enrow_source
from pipelines.after_load import describe_tables
from pipelines.alerts import alert
from pipelines.causes import first_cause, one_line
from pipelines.logs import json_line, set_up_logs
from pipelines.metrics import write_metrics
from pipelines.progress import display
from pipelines.report import ExitCode, RunReport, Start, failure_of, report_of
from pipelines.runs_table import record_run

PIPELINE_NAME = "enrow"
DATASET_NAME = "enrow_data"
WAREHOUSE = "warehouse"
"""Name of the default destination, and so of its file: `warehouse.duckdb`."""

DUCKDB_LIMITS = {"memory_limit": "96MB", "threads": 1}
"""What DuckDB may use while it loads the default warehouse; more threads load no faster, and cost more."""
TABLES = ("batches", "batch_stats", "phone_results", "batch_errors")


def build_pipeline(
    destination: TDestinationReferenceArg = "duckdb",
    dataset_name: str = DATASET_NAME,
    *,
    pipeline_name: str = PIPELINE_NAME,
    **options: Any,  # noqa: ANN401 - passed on as they are
) -> dlt.Pipeline:
    """Build the dlt pipeline; `options` go to `dlt.pipeline`.

    `"duckdb"` alone is the file `warehouse.duckdb` in the working directory: a file named like the pipeline would
    make `enrow.phone_results` ambiguous in a dataset of that name.
    """
    if destination == "duckdb" and not _is_configured("duckdb"):
        destination = dlt.destinations.duckdb(
            # Absolute: dlt would take a relative path from where the pipeline was first run.
            {"database": str(Path(f"{WAREHOUSE}.duckdb").absolute()), "global_config": DUCKDB_LIMITS},
            destination_name=WAREHOUSE,
        )
    pipeline: dlt.Pipeline = dlt.pipeline(pipeline_name, destination=destination, dataset_name=dataset_name, **options)
    return pipeline


def _is_configured(destination: str) -> bool:
    return dlt.secrets.get(f"destination.{destination}.credentials") is not None


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
        ConfigurationError: Something to fix in the arguments or the settings; nothing was requested.
        PipelineStepFailed: The run ended; what was loaded before is as it was.
    """
    pipeline = pipeline or build_pipeline()
    start = Start(trigger)
    with _stopped_by_sigterm() as stop:
        try:
            source = enrow_source(batch_ids, **{"stop": stop} | options)
        except (ConfigurationError, ConfigurationException) as error:
            raise error.with_traceback(None) from None  # the frames of dlt that it came through hold the key
        try:
            drained, info = _load(pipeline, source.with_resources(*tables) if tables else source, stop)
        except PipelineStepFailed as error:
            told = f"{type(first_cause(error)).__name__} in {error.step}"
            report = failure_of(pipeline, told, start, is_to_be_fixed=_is_to_be_fixed(error))
            _tell(pipeline, report, metrics_file)
            raise
    describe_tables(pipeline, info)
    report = report_of(pipeline, source, info, drained, start)
    _tell(pipeline, report, metrics_file)
    return report


def _load(pipeline: dlt.Pipeline, source: DltSource, stop: Event) -> tuple[int, LoadInfo]:
    drained = drain(pipeline)
    try:
        return drained, pipeline.run(source)
    except PipelineStepFailed as error:
        if not isinstance(first_cause(error), SignalReceivedException):
            raise
        # dlt leaves off between two files; what it has is loaded all the same.
        stop.set()
        return drained, pipeline.run()


def _tell(pipeline: dlt.Pipeline, report: RunReport, metrics_file: Path | None) -> None:
    record_run(pipeline, report)
    alert(pipeline, report)
    if metrics_file is not None:
        try:
            write_metrics(report, metrics_file)
        except OSError as error:
            logger.warning(f"no metrics of this run: {error}")


@contextmanager
def _stopped_by_sigterm() -> Iterator[Event]:
    """Turn SIGTERM, which Airflow and Kubernetes send, into an event that ends the run with what it has."""
    stop = Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def drain(pipeline: dlt.Pipeline) -> int:
    """Finish what a killed run left behind, since dlt would load it instead of the source; return the packages.

    A package whose load had begun is given up instead, with its state: dlt cannot know which of its jobs were
    committed in the last moment, and would do them twice. The ledger knows nothing of its batches, so they are
    fetched again.
    """
    _make_folders(pipeline)
    normalized, extracted = pipeline.list_normalized_load_packages(), pipeline.list_extracted_load_packages()
    # Not has_pending_data: it leaves out a package that was being given up, whose end would take a new one with it.
    if not normalized and not extracted:
        return 0
    # In both places: killed between moving a package on, or giving it up, and removing what it was made of.
    moved_on = {*normalized, *pipeline.list_completed_load_packages()}.intersection(extracted)
    if moved_on or any(_has_begun(pipeline.get_load_package_info(load_id)) for load_id in normalized):
        pipeline.abort_packages()
        return 0
    info = pipeline.run()
    # None, whatever dlt declares, where a first load was killed: the destination knows nothing of it, and dlt drops it.
    return len(info.loads_ids) if info else 0  # type: ignore[redundant-expr]


def _make_folders(pipeline: dlt.Pipeline) -> None:
    """Make the folders that a killed run was about to make: dlt takes one for all of them, and every run would end."""
    folder = Path(pipeline.working_dir, "load")
    if folder.is_dir():
        for name in (LoadStorage.NEW_PACKAGES_FOLDER, LoadStorage.NORMALIZED_FOLDER, LoadStorage.LOADED_FOLDER):
            (folder / name).mkdir(exist_ok=True)


def _has_begun(package: LoadPackageInfo) -> bool:
    return bool(
        PackageStorage.is_package_partially_loaded(package)
        or package.jobs["started_jobs"]
        or package.jobs["completed_jobs"]
        or package.jobs["failed_jobs"]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    set_up_logs(as_json=options.log_format == "json")
    piped = sys.stdin.read().split() if "-" in options.batch_ids_file else []
    batch_ids = [*options.batch_ids, *piped]
    files = [location for location in options.batch_ids_file if location != "-"]
    if not (batch_ids or files or options.batch_ids_query or options.pending or _has_configured_ids()):
        parser.error(
            "no batch ids: name some, or --batch-ids-file, --batch-ids-query, or set batch_ids_file or batch_ids_query"
            " under [sources.enrow] in .dlt/config.toml; --pending looks at the ongoing batches alone"
        )
    source_options = {
        # An empty one takes the place of what is configured.
        "batch_ids_file": [] if options.pending else files or None,
        "batch_ids_query": "" if options.pending else options.batch_ids_query,
        "batch_ids_cursor": "" if options.pending else options.batch_ids_cursor,
        "stuck_after_h": options.stuck_after_h,
        "enrow_base_url": options.base_url,
        "max_batches": options.max_batches,
        "retry_failed": options.retry_failed,
        "connections": options.connections,
        "deadline_s": options.deadline_s,
    }
    as_json = options.log_format == "json"
    of_dlt, of_source = display(as_json=as_json)
    try:
        report = run(
            batch_ids,
            pipeline=build_pipeline(options.destination, options.dataset, progress=of_dlt),
            tables=options.tables,
            trigger=options.trigger,
            metrics_file=options.metrics_file,
            progress=of_source,
            # What is not given is left to .dlt/config.toml.
            **{name: value for name, value in source_options.items() if value is not None},
        )
    except UnknownDestinationModule:
        parser.error(
            f"--destination: dlt has no destination {options.destination!r}, and none of that name is configured"
        )
    except (ConfigurationError, ConfigurationException) as error:
        _complain(str(error), as_json=as_json)
        return ExitCode.USAGE
    except PipelineStepFailed as error:
        _complain(_told(error), as_json=as_json)
        return ExitCode.USAGE if _is_to_be_fixed(error) else ExitCode.FAILED
    fields = asdict(report) | {"looked_at": report.looked_at, "exit_code": report.exit_code}
    print(json_line("INFO", "the run has ended", **fields) if as_json else report)
    return report.exit_code


def _is_to_be_fixed(error: PipelineStepFailed) -> bool:
    return isinstance(first_cause(error), ConfigurationError | ConfigurationException)


def _complain(message: str, *, as_json: bool) -> None:
    print(json_line("ERROR", message) if as_json else f"error: {message}", file=sys.stderr)


def _has_configured_ids() -> bool:
    return any(dlt.config.get(f"sources.enrow.{name}") for name in ("batch_ids_file", "batch_ids_query"))


def _told(error: PipelineStepFailed) -> str:
    """Tell the failure in one line: what we know of it, else where it happened and the first cause."""
    cause = first_cause(error)
    return one_line(cause) if isinstance(cause, EnrowError) else f"{error.step}: {one_line(cause)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="phone_bulk",
        description="Load Enrow bulk phone searches into a warehouse.",
        epilog="exit codes: 0 done; 1 the run failed; 2 something to fix in the call or the settings;"
        " 3 done, but some batches could not be read (see the table batch_errors); 4 ended early, by SIGTERM or"
        " --deadline-s; 5 gave up, since the API did not answer; 6 batches are stuck"
        " (see --stuck-after-h). What was loaded stays, the next run goes on.",
    )
    parser.add_argument("batch_ids", nargs="*", metavar="BATCH_ID", help="ids that POST /phone/bulk returned")
    parser.add_argument(
        "--batch-ids-file",
        metavar="FILE",
        nargs="+",
        action="extend",
        default=[],
        help="files with ids or webhook events: paths, globs, bucket URLs (s3://, gs://, az://); - is standard input",
    )
    parser.add_argument("--batch-ids-query", metavar="SQL", help="a SELECT with a column batch_id or id")
    parser.add_argument(
        "--batch-ids-cursor", metavar="COLUMN", help="a column of the query that grows: only what is new is read"
    )
    parser.add_argument(
        "--pending", action="store_true", help="without ids: look again at the batches that were ongoing"
    )
    parser.add_argument("--destination", default="duckdb", help="a dlt destination (default: %(default)s)")
    parser.add_argument("--dataset", default=DATASET_NAME, help="dataset or schema (default: %(default)s)")
    parser.add_argument("--tables", nargs="+", default=(), choices=TABLES, help="only these tables")
    parser.add_argument("--base-url", help="another API, such as the simulated one")
    parser.add_argument("--max-batches", type=int, help="most batches to look at in this run")
    parser.add_argument("--retry-failed", action="store_true", default=None, help="look at failed batches again")
    parser.add_argument("--deadline-s", type=float, help="end after so many seconds, with what is there")
    parser.add_argument(
        "--stuck-after-h", type=float, help="hours after which a batch that is still pending is told as stuck"
    )
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="json: a JSON object on each line"
    )
    parser.add_argument(
        "--metrics-file",
        metavar="PATH",
        type=Path,
        help="write OpenMetrics text, for node_exporter's textfile collector",
    )
    parser.add_argument(
        "--trigger", default="command", help="who starts the run, for the table enrow_runs (default: %(default)s)"
    )
    parser.add_argument("--connections", type=int, help="batches fetched at the same time")
    return parser


if __name__ == "__main__":
    sys.exit(main())
