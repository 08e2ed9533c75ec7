"""`python -m enrow_source.testing`: serve the demo batches, and what is submitted, until Ctrl-C or SIGTERM."""

import argparse

from .command import add_arguments, serve


def main() -> None:
    """Parse the options and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m enrow_source.testing",
        description="Simulate the Enrow phone-bulk API on 127.0.0.1.",
    )
    add_arguments(parser)
    serve(parser, parser.parse_args())


if __name__ == "__main__":
    main()
