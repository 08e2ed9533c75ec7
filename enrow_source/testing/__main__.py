"""`python -m enrow_source.testing`: serve the demo batches, and what is submitted, until Ctrl-C or SIGTERM."""

import argparse
from collections.abc import Sequence

from .command import add_arguments, serve


def main(arguments: Sequence[str] | None = None, prog: str = "python -m enrow_source.testing") -> None:
    """Parse the options and serve."""
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        description="Simulate the Enrow phone-bulk API on 127.0.0.1.",
    )
    add_arguments(parser)
    serve(parser, parser.parse_args(arguments))


if __name__ == "__main__":
    main()
