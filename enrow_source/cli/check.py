"""`enrow check`: a line for each check."""

from __future__ import annotations

from collections.abc import Sequence

from ..runner.check import Outcome, checks
from ..runner.pipeline import DATASET_NAME, DESTINATION_HELP
from ..runner.report import ExitCode
from .arguments import Parser, add_base_url, check_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and print a line for each; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    check_arguments(parser, options)
    worst = ExitCode.OK
    for check in checks(options.destination, options.dataset, options.enrow_base_url):
        print(check)
        if check.outcome is Outcome.FAILED:
            worst = ExitCode.FAILED
    return worst


def _parser() -> Parser:
    parser = Parser(
        prog="enrow check",
        description="Check settings, key, versions and destination, and the rows that are loaded.",
        epilog="exit codes: 0 all checks passed; 1 a check failed; 2 something to fix in the call.",
    )
    parser.add_argument("--destination", help=DESTINATION_HELP)
    parser.add_argument("--dataset", default=DATASET_NAME, help="dataset or schema (default: %(default)s)")
    add_base_url(parser)
    return parser
