"""The error page, from `enrow_source/errors.py` and the exit codes of the command."""

from __future__ import annotations

import ast
import inspect
from enum import Enum
from itertools import pairwise
from typing import TypeVar

from docs.generate.tables import grid
from enrow_source import errors
from enrow_source.runner.report import ExitCode

E = TypeVar("E", bound=Enum)


def page() -> str:
    """Make the page.

    Raises:
        ValueError: A kind of error or an exit code has no docstring.
    """
    kinds = [[f"`{kind.value}`", message] for kind, message in _members(errors.ErrorKind)]
    codes = [[f"{code.value}", message] for code, message in _members(ExitCode)]
    tree = (inspect.getdoc(errors) or "").split("\n", 2)[2]
    return f"""# Errors

## What each does to a run

{tree}

## Kinds of failed fetches

The column `kind` of [`batch_errors`](tables/batch_errors.md):

{grid(("kind", "what happened, and what to do"), kinds)}

## Exit codes

What `enrow run` returns:

{grid(("code", "meaning"), codes)}

## Exceptions

{grid(("exception", "meaning"), _exceptions())}
"""


def _members(of: type[E]) -> list[tuple[E, str]]:
    """Pair each member with the docstring below it, which Python itself throws away."""
    (body,) = [node.body for node in ast.parse(inspect.getsource(of)).body if isinstance(node, ast.ClassDef)]
    message = {}
    for assigned, below in pairwise(body):
        if isinstance(assigned, ast.Assign) and isinstance(assigned.targets[0], ast.Name):
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            message[assigned.targets[0].id] = " ".join(str(text).split())
    for member in of:
        if not message.get(member.name):
            raise ValueError(
                f"{of.__name__}.{member.name} has no docstring below it: say what it means, and what to do"
            )
    return [(member, message[member.name]) for member in of]


def _exceptions() -> list[list[str]]:
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.EnrowError)]
    return [[f"`{one.__name__}`", (inspect.getdoc(one) or "").split("\n")[0]] for one in found]
