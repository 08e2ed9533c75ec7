"""Checks of the arguments that all commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

_POSITIONAL: Final = {"batch_ids": "BATCH_ID", "submission_id": "SUBMISSION_ID"}


def refuse_empty(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the command where an argument is empty, as with a variable that is not set: it would mean something else."""
    for name, value in vars(options).items():
        values = value if isinstance(value, list | tuple) else [value]
        if any((isinstance(one, str) and not one.strip()) or one == Path() for one in values):
            shown = _POSITIONAL.get(name, f"--{name.replace('_', '-')}")
            parser.error(f"{shown} is empty: set it, or leave it out")
