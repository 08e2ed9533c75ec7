"""Checks of the arguments that all commands share."""

from __future__ import annotations

import argparse
from pathlib import Path


def refuse_empty(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the command where an argument is empty, as with a variable that is not set: it would mean something else."""
    for name, value in vars(options).items():
        values = value if isinstance(value, list | tuple) else [value]
        if any((isinstance(one, str) and not one.strip()) or one == Path() for one in values):
            shown = "BATCH_ID" if name == "batch_ids" else f"--{name.replace('_', '-')}"
            parser.error(f"{shown} is empty: set it, or leave it out")
