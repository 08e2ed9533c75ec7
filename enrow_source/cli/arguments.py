"""Checks of the arguments that all commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

_POSITIONAL: Final = {"batch_ids": "BATCH_ID", "submission_id": "SUBMISSION_ID"}


def check_arguments(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the command where an argument means something else than was meant.

    It is empty, as with a variable that is not set, or an option that stands after `--`, where nothing is one.
    """
    for name, value in vars(options).items():
        values = value if isinstance(value, list | tuple) else [value]
        shown = _POSITIONAL.get(name, f"--{name.replace('_', '-')}")
        if any((isinstance(one, str) and not one.strip()) or one == Path() for one in values):
            parser.error(f"{shown} is empty: set it, or leave it out")
        for one in values if name in _POSITIONAL else ():
            if isinstance(one, str) and one.startswith("--"):
                parser.error(f"{one} stands after --, and is taken for a {shown}: write options before --")


def number(text: str) -> float:
    """Read the number of an option; argparse names the option."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(_no_number(text, "number, such as 40 or 0.5")) from None


def whole_number(text: str) -> int:
    """Read the whole number of an option; argparse names the option."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(_no_number(text, "whole number, such as 40")) from None


def _no_number(text: str, kind: str) -> str:
    is_what = f"{text!r:.40} is no number" if text.strip() else "it is empty, as a variable is that is not set"
    return f"{is_what}: write a {kind}, or leave the option out"
