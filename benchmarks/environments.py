"""The environments that competitors run in, each made from a hash-locked file when it is missing or out of date.

`.venv-bench` has what a user of the source installs, and no pandas: pyarrow imports it wherever it is installed. The
analyst's script runs in the development environment, which has it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final, Literal

REPOSITORY: Final = Path(__file__).resolve().parent.parent

DuckDB = Literal["1.5", "2.0"]

_LOCKS: Final = {"1.5": "bench.txt", "2.0": "bench-duckdb2.txt"}
_FOLDERS: Final = {"1.5": ".venv-bench", "2.0": ".venv-bench-duckdb2"}
_PACKAGES: Final = ("dlt", "duckdb", "pyarrow", "msgspec", "requests", "sqlglot")


def python_for(competitor: str, duckdb: DuckDB = "1.5") -> str:
    """Return the interpreter that runs `competitor`."""
    return sys.executable if competitor == "analyst" else _python(duckdb)


@cache
def _python(duckdb: DuckDB) -> str:
    folder = REPOSITORY / _FOLDERS[duckdb]
    python = folder / "bin" / "python"
    lock = REPOSITORY / "requirements" / _LOCKS[duckdb]
    made_from = folder / "made-from.txt"
    if not made_from.exists() or made_from.read_bytes() != lock.read_bytes():
        sys.stderr.write(f"Setting up {folder.name} from requirements/{lock.name} ...\n")
        _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        _uv(
            "pip",
            "install",
            "--quiet",
            "--python",
            str(python),
            "--compile-bytecode",
            "--require-hashes",
            "-r",
            str(lock),
        )
        made_from.write_bytes(lock.read_bytes())
    return str(python)


def versions(duckdb: DuckDB) -> dict[str, str]:
    """Return the versions of what is compared, and of Python."""
    code = (
        "import importlib.metadata as m, json, platform;"
        f"print(json.dumps({{'python': platform.python_version(), **{{p: m.version(p) for p in {_PACKAGES!r}}}}}))"
    )
    found = subprocess.run([_python(duckdb), "-c", code], check=True, capture_output=True)  # noqa: S603 - ours
    versions: dict[str, str] = json.loads(found.stdout)
    return versions


def _uv(*arguments: str) -> None:
    """Run uv against the index that pip is configured with, as the Makefile does."""
    settings = {"UV_SYSTEM_CERTS": "true"}
    if index := _pip_index():
        settings["UV_DEFAULT_INDEX"] = index
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, *arguments], check=True, env=settings | os.environ)  # noqa: S603 - the locked uv


def _pip_index() -> str:
    pip = Path(sys.executable).with_name("pip")
    settings = subprocess.run([pip, "config", "list"], check=True, capture_output=True, text=True).stdout  # noqa: S603
    found = re.search(r"^\S*\.index-url='(.*)'$", settings, re.MULTILINE)
    return found[1] if found else ""
