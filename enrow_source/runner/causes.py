"""What ended a run, behind the errors that dlt and the drivers wrap around it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import dlt
from dlt.common.configuration.exceptions import ConfigFieldMissingException, ConfigValueCannotBeCoercedException
from dlt.common.configuration.providers.toml import TomlProviderReadException

from ..destination.connection_errors import text_of
from ..errors import ConfigurationError, EnrowError
from ..options import SECTIONS, SUBMIT_OPTIONS, read_settings
from ..settings import SOURCE_NAME
from ..source import option_names

_KINDS: Final = {int: "whole number", float: "number", bool: "true or false"}
"""What a setting takes."""

_SHOWN_CHARS: Final = 20


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
        value = str(cause.field_value)
        # What is long may be a secret that stands in the wrong place.
        shown = repr(value) if len(value) <= _SHOWN_CHARS else f"a text of {len(value)} characters"
        place = _place(cause.field_name, lambda found: str(found) == value)
        is_what = f"is no {_KINDS[cause.hint]}, but {shown if value else 'empty'}"
        return f"{cause.field_name} {is_what}: write one, or leave the setting out{place}"
    if isinstance(cause, ConfigurationError):
        message = " ".join(str(cause).split())
        name = message.split(" ", 1)[0]
        if name not in (*option_names(), *SUBMIT_OPTIONS):
            return message
        # Of an argument that the files set too, another value is told.
        told = rf"{name}(?: is)? ['\"]?"
        return message + _place(name, lambda found: re.match(f"{told}{re.escape(str(found) or 'empty')}\\b", message))
    if isinstance(cause, ConfigFieldMissingException) and (names := _missing_settings(str(cause))):
        section = ".".join(names[0].lower().split("__")[:-1])
        return f"settings are missing: {', '.join(names)} in the environment, or under [{section}] in .dlt/secrets.toml"
    return " ".join(text_of(cause).split()) or type(cause).__name__


def _place(name: str, is_meant: Callable[[Any], object]) -> str:
    """Say in which file and section, or in which variable, a setting is set; empty where it is an argument."""
    for section in (("sources", SOURCE_NAME), *((section,) for section in SECTIONS)):
        for provider in dlt.config.config_providers:
            value, key = provider.get_value(name, Any, "", *section)
            if value is not None and is_meant(value):
                return f" (set as {key} in {provider.name.replace('Environment Variables', 'the environment')})"
    return ""


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
    return next(iter(text_of(first).strip().splitlines()), type(first).__name__)


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
