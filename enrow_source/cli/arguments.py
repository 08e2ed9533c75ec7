"""What the arguments of all commands share: how they are read, checked, and named in messages."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, NoReturn

from ..errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """Takes options in full alone, and asks for the one that is nearest to another.

    Args:
        until: Words whose further arguments another parser reads.
        settings: Arguments that the files and the environment may set too.
        options: As argparse takes them.
    """

    def __init__(
        self,
        *,
        until: Collection[str] = (),
        settings: Collection[str] = ("enrow_base_url",),
        **options: Any,  # noqa: ANN401 - argparse's own
    ) -> None:
        super().__init__(allow_abbrev=False, **options)
        self._until, self._settings = {"--", *until}, settings

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]  # noqa: ANN401 - as argparse has it
        """Parse; an option that does not exist is told before one that is missing."""
        given = list(sys.argv[1:] if args is None else args)
        for argument in takewhile(lambda one: one not in self._until, given):
            name = argument.partition("=")[0]
            known = self.names()
            # As argparse has it: what has a space in it is no option.
            if name.startswith("--") and " " not in argument and name not in known:
                self.error(f"there is no option {name}{did_you_mean(name, known)}")
        return super().parse_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """End the command; for a choice that does not exist, ask for the nearest one."""
        if found := re.search(r"invalid choice: '(.*?)' \(choose from (.*?)\)", message):
            message += did_you_mean(found[1], re.findall(r"[\w-]+", found[2]))
        super().error(message)

    def names(self) -> list[str]:
        """Return all options, also those of nested parsers."""
        choices = [action.choices for action in self._actions if isinstance(action.choices, dict)]
        nested = [parser for one in choices for parser in one.values() if isinstance(parser, Parser)]
        own = [option for action in self._actions for option in action.option_strings]
        return own + [option for parser in nested for option in parser.names()]

    def option_of(self, name: str) -> str | None:
        """Return the option that sets an argument; None where there is none."""
        found = (action.option_strings[0] for action in self._actions if action.dest == name and action.option_strings)
        return next(found, None)

    def in_options(self, message: str, given: argparse.Namespace) -> str:
        """Return a message of the package, with options in place of the names of arguments.

        They stay where all of them may be settings, and the command was given none of them.
        """
        # What is a plain word too is a name only where messages have one.
        pattern = r"\b\w+_\w+\b|^[a-z]+(?= (?:is|has) )|(?<= with )limit\b"
        names = [name for name in re.findall(pattern, message) if self.option_of(name)]
        if all(name in self._settings and getattr(given, name) == self.get_default(name) for name in names):
            return message
        return re.sub(pattern, lambda found: self.option_of(found[0]) or found[0], message)


def add_base_url(parser: Parser) -> None:
    """Add the option that names the API."""
    url = "URL of another API, such as the simulated one"
    parser.add_argument("--base-url", dest="enrow_base_url", metavar="URL", help=url)


def check_arguments(parser: Parser, options: argparse.Namespace) -> None:
    """End the command where an argument means something else than was meant.

    It is empty, as with a variable that is not set, or an option that stands after `--`, where nothing is one.
    """
    for name, value in vars(options).items():
        values = value if isinstance(value, list | tuple) else [value]
        shown = _POSITIONAL.get(name) or parser.option_of(name)
        if any((isinstance(one, str) and not one.strip()) or one == Path() for one in values):
            parser.error(f"{shown} is empty: set it, or leave it out")
        for one in values if name in _POSITIONAL else ():
            if isinstance(one, str) and one.startswith("--"):
                parser.error(f"{one} stands after --, and is taken for a {shown}: write options before --")


_POSITIONAL: Final = {"batch_ids": "BATCH_ID", "submission_id": "SUBMISSION_ID"}


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
