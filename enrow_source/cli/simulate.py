"""`enrow simulate`: the simulated API, until Ctrl-C or SIGTERM."""

from __future__ import annotations

from collections.abc import Sequence

from ..testing import add_arguments, serve
from .arguments import Parser, check_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the simulated API; returns the exit code."""
    parser = Parser(prog="enrow simulate", description="Simulate the Enrow phone-bulk API.")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    check_arguments(parser, options)
    serve(parser, options)
    return 0
