"""`enrow submit`: people in, batches out, each person at most once, within a budget."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from tempfile import TemporaryDirectory
from typing import Any

import dlt
from dlt.common.configuration.exceptions import ConfigurationException

from ..errors import ConfigurationError
from ..runner.causes import first_line, one_line
from ..runner.pipeline import DATASET_NAME, DESTINATION_HELP, build_pipeline
from ..runner.signals import stopped_by_signals
from ..settings import RETRY_NOT_FOUND_AFTER_DAYS, SEARCHES_PER_BATCH
from ..submissions.configured import SubmitSettings
from ..submissions.report import SubmissionReport, SubmitExitCode
from ..submissions.sources import Row, rows_from_file, rows_from_query
from ..submissions.submit import submit
from .arguments import Parser, add_base_url, check_arguments, number, whole_number
from .logs import json_line, set_up_logs

PIPELINE_NAME = "enrow_submissions"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    as_json = options.log_format == "json"
    set_up_logs(as_json=as_json, in_options=lambda message: parser.in_options(message, options))
    check_arguments(parser, options)
    with TemporaryDirectory() as folder, stopped_by_signals() as stop:
        try:
            pipeline = build_pipeline(
                options.destination, options.dataset, pipeline_name=PIPELINE_NAME, pipelines_dir=folder
            )
            report = submit(
                _people(options, pipeline),
                pipeline=pipeline,
                max_credits=options.max_credits,
                dry_run=options.dry_run,
                limit=options.limit,
                batch_size=options.batch_size,
                campaign=options.campaign,
                custom=_custom(options.custom),
                webhook=options.webhook,
                retry_not_found_after_days=options.retry_not_found_after_days,
                refresh_found_after_days=options.refresh_found_after_days,
                enrow_base_url=options.enrow_base_url,
                stop=stop,
            )
        except (ConfigurationError, ConfigurationException) as error:
            print_error(parser.in_options(one_line(error), options), as_json=as_json)
            return SubmitExitCode.USAGE
        except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
            print_error(first_line(error), as_json=as_json)
            return SubmitExitCode.FAILED
    if report.over_budget is not None:
        report = replace(report, over_budget=parser.in_options(report.over_budget, options))
    print(json_line("INFO", "the submission has ended", **_fields(report)) if as_json else report)
    return report.exit_code


def _people(options: argparse.Namespace, pipeline: dlt.Pipeline) -> Iterator[Row]:
    if options.people_query is not None:
        return rows_from_query(options.people_query, pipeline, SubmitSettings.read().people_database)
    return chain.from_iterable(map(rows_from_file, options.people_file))


def _custom(text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        custom = json.loads(text)
    except ValueError:
        custom = None
    if not isinstance(custom, dict):
        raise ConfigurationError('--custom is no JSON object: write one, such as {"owner": "sales"}')
    return custom


def _fields(report: SubmissionReport) -> dict[str, Any]:
    return asdict(report) | {
        "invalid": [str(row) for row in report.invalid],
        "searches_accepted": report.searches_accepted,
        "credits_held": report.credits_held,
        "exit_code": report.exit_code,
    }


def print_error(message: str, *, as_json: bool = False) -> None:
    """Print what ended the command."""
    print(json_line("ERROR", message) if as_json else f"error: {message}", file=sys.stderr)


def _parser() -> Parser:
    parser = Parser(
        prog="enrow submit",
        description="Submit people for phone searches: each person at most once, within a budget.",
        epilog="exit codes: 0 done; 1 ended before everything was sent: the key, the credits, the API, the"
        " destination, another run that submits; 2 something to fix in the call, the settings, the people or the"
        " budget, nothing was sent; 3 done, but some rows could not be submitted; 4 stopped by SIGTERM; 7 a submission"
        " is unknown, see enrow submissions. enrow run loads the accepted batches from then on.",
    )
    people = parser.add_mutually_exclusive_group(required=True)
    people.add_argument(
        "--people-file", metavar="FILE", nargs="+", help="CSV, TSV, JSON, JSONL or Parquet files, each also as .gz"
    )
    people.add_argument(
        "--people-query",
        metavar="SQL",
        help="a SELECT with the columns of a search, at the destination, or at people_database under [sources.enrow]",
    )
    parser.add_argument(
        "--max-credits", metavar="N", type=number, help="most credits that the API may hold for this run"
    )
    parser.add_argument("--limit", metavar="N", type=whole_number, help="submit at most N people")
    parser.add_argument(
        "--batch-size",
        metavar="N",
        type=whole_number,
        default=SEARCHES_PER_BATCH,
        help="searches in a batch, %(default)s at most (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="send and write nothing: print what would be sent")
    parser.add_argument("--campaign", metavar="NAME", help="kept in the table submissions and in custom of the batch")
    parser.add_argument("--custom", metavar="JSON", help="further keys for custom of the batch: a JSON object")
    parser.add_argument("--webhook", metavar="URL", help="https URL that the API calls when a batch has ended")
    parser.add_argument(
        "--retry-not-found-after-days",
        metavar="N",
        type=number,
        default=RETRY_NOT_FOUND_AFTER_DAYS,
        help=f"search people again N days after they were not found (default: {RETRY_NOT_FOUND_AFTER_DAYS:g})",
    )
    parser.add_argument(
        "--refresh-found-after-days",
        metavar="N",
        type=number,
        help="search people again N days after they were found (default: never)",
    )
    add_destination(parser)
    add_base_url(parser)
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="json: a JSON object on each line"
    )
    return parser


def add_destination(parser: argparse.ArgumentParser, *, is_default: bool = True) -> None:
    """Add the options that name where the tables are; without defaults where an outer parser has them."""
    for option, default, text in (
        ("--destination", None, DESTINATION_HELP),
        ("--dataset", DATASET_NAME, f"dataset or schema (default: {DATASET_NAME})"),
    ):
        parser.add_argument(option, default=default if is_default else argparse.SUPPRESS, help=text)
