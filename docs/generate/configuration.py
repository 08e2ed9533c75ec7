"""The configuration page, from the signature and docstring of the source and from the commands' own parsers."""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Final

from docs.generate.tables import grid
from enrow_source import enrow_source
from enrow_source.cli import check, erase, run, submissions, submit

_CONFIG: Final = Path(__file__).parents[2] / ".dlt" / "config.toml"
_ARGUMENTS_ONLY: Final = ("batch_ids", "suppressions", "stop", "progress")
"""What no file can hold."""


def page() -> str:
    """Make the page."""
    return f"""# Configuration

## Options of the source

As arguments of `enrow_source`; under `[sources.enrow]` in `.dlt/config.toml`, or in `.dlt/secrets.toml` where it says
secret; or in the environment. An option that does not exist is an error that names the one that was meant.

{grid(("option", "type", "default", "meaning", "environment"), _options())}

## Commands

{_commands()}

## What the repository sets

`.dlt/config.toml`, read in the folder where a command is run:

```toml
{_CONFIG.read_text(encoding="utf-8").strip()}
```
"""


def _options() -> list[list[str]]:
    message = _message(inspect.getdoc(enrow_source) or "")
    rows = []
    for name, parameter in inspect.signature(enrow_source).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        default = "required" if parameter.default is parameter.empty else _shown(parameter.default)
        kind = str(parameter.annotation).replace(" | None", "").replace("TSecretStrValue", "str, secret")
        where = "an argument alone" if name in _ARGUMENTS_ONLY else f"`SOURCES__ENROW__{name.upper()}`"
        rows.append([f"`{name}`", kind, default, message[name], where])
    return rows


def _shown(default: object) -> str:
    return "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _message(docstring: str) -> dict[str, str]:
    """Take the arguments of a docstring in Google's style apart."""
    (section,) = re.findall(r"^Args:\n(.*?)^\S", docstring, re.DOTALL | re.MULTILINE)
    found = re.findall(r"^ {4}(\w+): (.*?)(?=^ {4}\w|\Z)", section, re.DOTALL | re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _commands() -> str:
    return "\n\n".join(_command(module) for module in (run, submit, submissions, check, erase))


def _command(module: ModuleType) -> str:
    name = module.__name__.rsplit(".", 1)[1]
    parser: argparse.ArgumentParser = module._parser()  # noqa: SLF001 - it is private to other commands, not to us
    rows = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list them
        if isinstance(action, argparse._HelpAction):  # noqa: SLF001 - as above
            continue
        names = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar or action.dest}`"
        message = (action.help or "").replace("%(default)s", str(action.default))
        rows.append([names, message])
    return f"### `enrow {name}`\n\n{parser.description}\n\n{grid(('argument', 'meaning'), rows)}"
