"""`enrow run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.pipeline.exceptions import PipelineStepFailed

from ..errors import BusyError, ConfigurationError, EnrowError
from ..ids.formats import read_stream
from ..runner.causes import one_line, root_cause
from ..runner.pipeline import DATASET_NAME, DESTINATION_HELP, TABLES, build_pipeline
from ..runner.report import ExitCode
from ..runner.run import is_config_error, run
from ..source import option_names
from ..submissions.resolve import has_submissions
from .arguments import Parser, add_base_url, check_arguments, number, whole_number
from .logs import json_line, set_up_logs
from .progress import display


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    as_json = options.log_format == "json"
    set_up_logs(as_json=as_json, in_options=lambda message: parser.in_options(message, options))
    check_arguments(parser, options)
    for batch_id in options.batch_ids:
        if Path(batch_id).is_file():
            parser.error(f"{batch_id} is a file: read its ids with --batch-ids-file {batch_id}")
    piped = list(read_stream(sys.stdin.buffer, "standard input")) if "-" in options.batch_ids_file else []
    if "-" in options.batch_ids_file and not piped:
        parser.error("standard input has no batch ids: what is piped into the command may have failed")
    batch_ids: list[Any] = [*options.batch_ids, *piped]
    files = options.batch_ids_file = [location for location in options.batch_ids_file if location != "-"]
    if options.pending_only and (batch_ids or files or options.batch_ids_query):
        parser.error("--pending reads no ids: leave it out, or the ids, --batch-ids-file and --batch-ids-query")
    has_ids = batch_ids or files or options.batch_ids_query or options.pending_only or _has_configured_ids()
    # What is not given is left to .dlt/config.toml.
    given = {name: value for name, value in vars(options).items() if name in _SETTINGS and value not in (None, [])}
    of_dlt, of_source = display(as_json=as_json)
    try:
        pipeline = build_pipeline(options.destination, options.dataset, progress=of_dlt)
        # What enrow submit has sent needs no id.
        if not has_ids and not has_submissions(pipeline):
            parser.error(
                "no batch ids: name some, or --batch-ids-file, --batch-ids-query, or set batch_ids_file or"
                " batch_ids_query under [sources.enrow] in .dlt/config.toml; --pending fetches the ongoing ones alone"
            )
        report = run(
            batch_ids,
            pipeline=pipeline,
            tables=options.tables,
            trigger=options.trigger,
            metrics_file=options.metrics_file,
            progress=of_source,
            **given,
        )
    except (ConfigurationError, ConfigurationException) as error:
        _print_error(parser.in_options(one_line(error), options), as_json=as_json)
        return ExitCode.USAGE
    except BusyError as error:
        _print_error(str(error), as_json=as_json)
        return ExitCode.FAILED
    except PipelineStepFailed as error:
        _print_error(parser.in_options(_message(error), options), as_json=as_json)
        return ExitCode.USAGE if is_config_error(error) else ExitCode.FAILED
    fields = asdict(report) | {"fetched": report.fetched, "exit_code": report.exit_code, "reasons": report.reasons}
    print(json_line("INFO", "the run has ended", **fields) if as_json else report)
    return report.exit_code


_SETTINGS: Final = frozenset(option_names()) - {"batch_ids"}


def _print_error(message: str, *, as_json: bool) -> None:
    print(json_line("ERROR", message) if as_json else f"error: {message}", file=sys.stderr)


def _has_configured_ids() -> bool:
    return any(dlt.config.get(f"sources.enrow.{name}") for name in ("batch_ids_file", "batch_ids_query"))


def _message(error: PipelineStepFailed) -> str:
    """Return the failure in one line: what we know of it, else where it happened and the first cause."""
    cause = root_cause(error)
    message = one_line(cause) if isinstance(cause, EnrowError) else f"{error.step}: {one_line(cause)}"
    return "; ".join([message, *getattr(error, "__notes__", ())])


def _parser() -> Parser:
    parser = Parser(
        prog="enrow run",
        settings=_SETTINGS,
        description="Load Enrow bulk phone searches into a warehouse.",
        epilog="exit codes: 0 done; 1 the run failed; 2 something to fix in the call or the settings;"
        " 3 done, but some batches could not be read (see the table batch_errors); 4 stopped by SIGTERM or"
        " --deadline-s; 5 stopped, because the API did not answer; 6 batches are stuck"
        " (see --stuck-after-h); 7 a batch contradicts a submission (see enrow submissions). What was loaded stays, and"
        " the next run continues.",
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
    parser.add_argument("--batch-ids-query", metavar="SQL", help="a SELECT with a column batch_id, bulk_id or id")
    parser.add_argument(
        "--batch-ids-cursor", metavar="COLUMN", help="a column of the query that grows: only what is new is read"
    )
    parser.add_argument(
        "--pending",
        dest="pending_only",
        action="store_true",
        default=None,
        help="read no ids: fetch only the batches that were ongoing",
    )
    parser.add_argument("--destination", help=DESTINATION_HELP)
    parser.add_argument("--dataset", default=DATASET_NAME, help="dataset or schema (default: %(default)s)")
    parser.add_argument("--tables", nargs="+", default=(), choices=TABLES, help="load only these tables")
    add_base_url(parser)
    parser.add_argument("--max-batches", type=whole_number, help="most batches to fetch in this run")
    parser.add_argument("--retry-failed", action="store_true", default=None, help="fetch failed batches again")
    parser.add_argument(
        "--refetch", action="store_true", default=None, help="fetch the BATCH_IDs again, also where they are loaded"
    )
    parser.add_argument("--deadline-s", type=number, help="stop after so many seconds, and load what was fetched")
    parser.add_argument(
        "--stuck-after-h", type=number, help="hours after which a batch that is still pending is reported as stuck"
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
    parser.add_argument("--connections", type=whole_number, help="batches fetched at the same time")
    return parser
