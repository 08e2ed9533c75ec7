"""What ended a run, behind the errors that dlt and the drivers wrap around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dlt.common.configuration.exceptions import ConfigFieldMissingException, ConfigValueCannotBeCoercedException
from dlt.common.configuration.providers.toml import TomlProviderReadException

from ..errors import ConfigurationError, EnrowError
from ..options import read_settings

_KINDS: Final = {int: "whole number", float: "number", bool: "true or false"}
"""What a setting takes."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and what it was raised from, to the first cause."""
    while error is not None:
        yield error
        error = error.__cause__


def root_cause(error: BaseException) -> BaseException:
    """Find what a person can act on: our own error, else the first cause."""
    return next(one for one in causes(error) if isinstance(one, EnrowError) or one.__cause__ is None)


def one_line(cause: BaseException) -> str:
    """Return an error in one line, all of it."""
    if isinstance(cause, ConfigValueCannotBeCoercedException) and cause.hint in _KINDS:
        # Without the value, which may be a secret that stands in the wrong place.
        return f"{cause.field_name} is no {_KINDS[cause.hint]}: write one, or leave the setting out"
    if isinstance(cause, ConfigFieldMissingException) and (names := _missing_settings(str(cause))):
        section = ".".join(names[0].lower().split("__")[:-1])
        return f"settings are missing: {', '.join(names)} in the environment, or under [{section}] in .dlt/secrets.toml"
    return " ".join(str(cause).split()) or type(cause).__name__


def _missing_settings(message: str) -> list[str]:
    """Return the variables that would set what is missing, of all those that dlt has read."""
    names = []
    for tried in re.split(r"for field `\w+` the following", " ".join(message.split()))[1:]:
        found = re.findall(r"\(Environment Variables, ((?:DESTINATION|SOURCES)__\w+)\)", tried)
        names += [max(found, key=len)] if found else []
    return names


def first_line(error: BaseException) -> str:
    """Return the first cause in a line: drivers add the statement, and what else they know, in the next ones."""
    *_, first = causes(error)
    return next(iter(str(first).strip().splitlines()), type(first).__name__)


def broken_settings(error: BaseException) -> str | None:
    """Return what is wrong with the settings, and where a file is no TOML; None where the error is another one."""
    for one in causes(error):
        if isinstance(one, ConfigValueCannotBeCoercedException):
            return one_line(one)
        if isinstance(one, ValueError) and str(one).startswith("Unknown level"):  # logging's own words
            return f"log_level under [runtime]: {one}; write one such as WARNING, or leave the setting out"
    found = next((one for one in causes(error) if isinstance(one, TomlProviderReadException)), None)
    if found is None:
        return None
    for file in map(Path, found.full_paths):
        try:
            read_settings(file)
        except ConfigurationError as broken:
            if file.exists():
                return str(broken)
    return one_line(found)
