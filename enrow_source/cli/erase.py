"""Remove a person or a batch from a warehouse: `enrow erase --linkedin-url URL`.

Counts what would go; with `--execute` it goes, and no later run of `phone_bulk` brings it back.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.destinations.exceptions import DestinationConnectionError

from ..destination.erase import Erasure, erase
from ..destination.hide import hide_existing
from ..destination.packages import left_packages
from ..destination.suppressions import ERASURES, Subject, SubjectKind, configured_pii
from ..errors import BusyError, ConfigurationError
from ..runner.causes import first_line, one_line
from ..runner.pipeline import DATASET_NAME, DESTINATION_HELP, build_pipeline
from ..runner.report import ExitCode
from .arguments import Parser, check_arguments

OPTIONS = {
    SubjectKind.LINKEDIN_URL: ("--linkedin-url", "URL", "the person's profile, as it was submitted; - is read"),
    SubjectKind.NUMBER: ("--number", "+1...", "the person's phone number, E.164; - is read"),
    SubjectKind.BATCH: ("--batch-id", "ID", "the batch; - is read"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    # Who is erased is checked below.
    check_arguments(parser, argparse.Namespace(**{name: options[name] for name in ("destination", "dataset")}))
    if options["existing"]:
        return _hide(options["destination"], options["dataset"], execute=options["execute"])
    ((kind, value),) = [(kind, options[kind]) for kind in SubjectKind if options[kind] is not None]
    try:
        subject = Subject(kind, sys.stdin.read() if value == "-" else value)
    except ConfigurationError as error:
        parser.error(f"{OPTIONS[kind][0]}: {error}")
    try:
        erasure = _erase(subject, options["destination"], options["dataset"], execute=options["execute"])
    except TomlProviderReadException:
        raise
    except (ConfigurationError, ConfigurationException) as error:
        print(f"error: {subject.masked(one_line(error))}", file=sys.stderr)
        return ExitCode.USAGE
    except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
        print(f"error: {subject.masked(first_line(error))}", file=sys.stderr)
        return ExitCode.FAILED
    print(_message(erasure))
    return ExitCode.OK


def _erase(subject: Subject, destination: str | None, dataset: str, *, execute: bool) -> Erasure:
    """Erase with a pipeline of its own, so that the one that loads keeps its schema and its state."""
    if execute and left_packages(build_pipeline(destination, dataset)):
        raise ConfigurationError(
            "a killed run has left load packages here, which may hold what is erased and would bring it back: finish"
            " them first, with enrow run --pending"
        )
    with TemporaryDirectory() as folder:
        pipeline = build_pipeline(destination, dataset, pipeline_name=ERASURES, pipelines_dir=folder)
        return erase(pipeline, subject, execute=execute)


def _hide(destination: str, dataset: str, *, execute: bool) -> int:
    """Hide what was loaded in clear, as `pii` says now."""
    try:
        with TemporaryDirectory() as folder:
            pipeline = build_pipeline(destination, dataset, pipeline_name=ERASURES, pipelines_dir=folder)
            counts = hide_existing(pipeline, configured_pii(), execute=execute)
    except (ConfigurationError, ConfigurationException) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return ExitCode.USAGE
    except BusyError as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
        # Of the first line alone: what follows may be the statement, with its values.
        what = first_line(error) if isinstance(error, DestinationConnectionError) else type(error).__name__
        print(f"error: {what}; it can be done again", file=sys.stderr)
        return ExitCode.FAILED
    what = "values hidden" if execute else "values in clear"
    for column, count in counts.items() or {"in all columns": 0}.items():
        print(f"{what:<18}{count:>8,}  {column}")
    if not execute:
        print("nothing was changed: --execute does it")
    return ExitCode.OK


def _message(erasure: Erasure) -> str:
    what = "rows erased" if erasure.executed else "rows to erase"
    lines = [
        f"{what:<18}{count:>8,}  {table}"
        for table, count in erasure.rows.items()
        if count or not table.endswith("(staging)")
    ]
    what = "texts emptied" if erasure.executed else "texts to empty"
    lines += [f"{what:<18}{count:>8,}  {column}" for column, count in erasure.mentions.items()]
    if not erasure.has_hashes and not erasure.executed:
        lines.append("hashed rows are not counted: set pii_secret under [sources.enrow]; --execute needs it too")
    if erasure.unmatchable:
        lines.append(f'{erasure.unmatchable} is null in all rows, as pii = "drop" leaves it: nobody is found by it')
    if erasure.executed:
        lines.append("recorded in enrow_erasures, so that no later run brings it back")
    else:
        lines.append("nothing was changed: --execute does it")
    return "\n".join(lines)


def _parser() -> Parser:
    parser = Parser(
        prog="enrow erase",
        description="Remove a person or a batch from a warehouse, and keep later runs from bringing it back."
        " Without --execute the rows are only counted.",
        epilog="exit codes: 0 done; 1 failed, and can be repeated; 2 something to fix in the call or the settings."
        " A person needs pii_secret under [sources.enrow]. Run no load at the same time.",
    )
    subjects = parser.add_mutually_exclusive_group(required=True)
    for kind, (option, metavar, what) in OPTIONS.items():
        subjects.add_argument(option, dest=kind.value, metavar=metavar, help=f"{what} from standard input")
    subjects.add_argument(
        "--existing", action="store_true", help="hash or drop, as pii says, what earlier runs loaded in clear"
    )
    parser.add_argument("--destination", help=DESTINATION_HELP)
    parser.add_argument("--dataset", default=DATASET_NAME, help="dataset or schema (default: %(default)s)")
    parser.add_argument("--execute", action="store_true", help="erase the rows; without it they are only counted")
    return parser
