"""`enrow submissions`: lists what was submitted, and records what a person has found out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from tempfile import TemporaryDirectory

from dlt.common.configuration.exceptions import ConfigurationException

from ..errors import ConfigurationError
from ..runner.causes import first_line, one_line
from ..runner.pipeline import build_pipeline
from ..submissions.report import SubmitExitCode
from ..submissions.resolve import list_submissions, resolve_submission
from ..submissions.store import Submitted
from .arguments import Parser, check_arguments
from .logs import json_line, set_up_logs
from .submit import PIPELINE_NAME, add_destination, print_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    as_json = options.log_format == "json"
    set_up_logs(as_json=as_json)
    check_arguments(parser, options)
    with TemporaryDirectory() as folder:
        try:
            pipeline = build_pipeline(
                options.destination, options.dataset, pipeline_name=PIPELINE_NAME, pipelines_dir=folder
            )
            if options.action == "resolve":
                shown = [resolve_submission(pipeline, options.submission_id, batch_id=options.batch_id)]
            else:
                shown = list_submissions(pipeline)
        except (ConfigurationError, ConfigurationException) as error:
            print_error(one_line(error), as_json=as_json)
            return SubmitExitCode.USAGE
        except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
            print_error(first_line(error), as_json=as_json)
            return SubmitExitCode.FAILED
    if as_json:
        for one in shown:
            print(json_line("INFO", "submission", submission=asdict(one)))
    else:
        print(_table(shown, datetime.now(UTC)) if shown else "no submissions in this dataset")
    return SubmitExitCode.OK


def _table(submissions: Sequence[Submitted], now: datetime) -> str:
    """Lay the submissions out, one on a line."""
    head = ("submission", "state", "searches", "credits", "batch id", "age", "message")
    rows = [
        (
            one.submission_id,
            one.state,
            f"{one.searches:,}",
            f"{one.credits_reserved if one.credits_held is None else one.credits_held:,.0f}",
            one.batch_id or "",
            _age(now, one.created_at),
            one.message or "",
        )
        for one in submissions
    ]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    return "\n".join(
        "  ".join(f"{value:<{width}}" for value, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )


def _age(now: datetime, created_at: datetime) -> str:
    seconds = (now - created_at).total_seconds()
    for length_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def _parser() -> Parser:
    parser = Parser(
        prog="enrow submissions",
        description="List what was submitted. With resolve: record what became of an unknown one.",
        epilog="exit codes: 0 done; 1 failed; 2 something to fix in the call or the settings. An unknown submission"
        " that was accepted is resolved by enrow run, once it loads the batch: its id is in the webhook event and on"
        " the account's page. --not-accepted lets its people be submitted again: check the account first.",
    )
    _add_shared(parser, is_nested=False)
    actions = parser.add_subparsers(dest="action", metavar="resolve")
    resolve = actions.add_parser("resolve", help="record what became of an unknown submission")
    resolve.add_argument("submission_id", metavar="SUBMISSION_ID")
    outcome = resolve.add_mutually_exclusive_group(required=True)
    outcome.add_argument("--batch-id", metavar="ID", help="it was accepted as this batch, which enrow run loads")
    outcome.add_argument("--not-accepted", action="store_true", help="it was not: its people may be submitted again")
    _add_shared(resolve, is_nested=True)
    return parser


def _add_shared(parser: argparse.ArgumentParser, *, is_nested: bool) -> None:
    """Add the options that may stand before and after the action: a default of the latter would undo the former."""
    add_destination(parser, is_default=not is_nested)
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default=argparse.SUPPRESS if is_nested else "text",
        help="json: a JSON object on each line",
    )
