"""The command `enrow`: one subcommand a module, imported when it is used."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from .arguments import Parser

COMMANDS: Final = {
    "run": "Load batches, and fetch again those that were ongoing.",
    "submit": "Submit people for phone searches, at most once and within a budget.",
    "submissions": "List what was submitted, and resolve what is unknown.",
    "check": "Check settings, key, versions and destination before the first load.",
    "erase": "Erase a person or a batch, and keep later runs from loading it again.",
    "backfill": "Load very many batches on a Dask cluster.",
    "demo": "Run against a simulated API: no key, no account.",
    "simulate": "Start the simulated API.",
}


USAGE: Final = 2

INTERRUPTED: Final = 130
"""As a shell has it for Ctrl-C."""

CLOSED_PIPE: Final = 141
"""As a shell has it for a program that writes to one that has ended, such as `head`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        command = import_module(f"{__name__}.{options.command}")
        code = int(command.main(options.arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return CLOSED_PIPE
    except KeyboardInterrupt:
        print("interrupted: what was loaded stays", file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name != "dask":
            raise
        print(f"error: enrow {options.command} needs dask: pip install 'enrow-source[dask]'", file=sys.stderr)
        return USAGE
    except Exception as error:
        from ..runner.causes import broken_settings  # noqa: PLC0415 - imports dlt

        if (message := broken_settings(error)) is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return USAGE
    else:
        return code


class _Version(argparse.Action):
    """Print the version: read only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ..runner.run_log import own_version  # noqa: PLC0415 - imports dlt

        print(f"enrow {own_version()}")
        parser.exit()


def _parser() -> Parser:
    width = max(map(len, COMMANDS))
    parser = Parser(
        prog="enrow",
        until=COMMANDS,
        description="Load Enrow bulk phone searches into a warehouse.",
        epilog="commands:\n"
        + "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
        + "\n\nenrow COMMAND --help describes a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="arguments of the command")
    return parser
