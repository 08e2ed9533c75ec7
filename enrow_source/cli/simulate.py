"""`enrow simulate`: the simulated API, until Ctrl-C or SIGTERM."""

from __future__ import annotations

from collections.abc import Sequence

from ..testing.__main__ import main as serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the simulated API; returns the exit code."""
    serve(arguments, prog="enrow simulate")
    return 0
