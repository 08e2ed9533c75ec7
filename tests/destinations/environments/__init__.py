"""The environments that the legs run in, each made from a hash-locked file when it is missing or out of date.

`<name>.in` beside this file lists what an environment holds, `<name>.overrides` what it holds against the bounds of the
package. `python -m tests.destinations.environments` writes `requirements/destinations-<name>.txt` from them, with the
newest versions that they allow.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[3]
_FOLDER: Final = Path(__file__).resolve().parent
_SETUP: Final = REPOSITORY / ".venv" / "bin"
"""What `make setup` makes; the others have neither uv nor pip, and may be what runs this."""

EXTRAS: Final = {
    "duckdb2": (),
    "lake": ("filesystem", "deltalake"),
    "snowflake": ("snowflake",),
    "bigquery": ("bigquery",),
    "bqemulator": None,
    "fakesnow-s3": None,
}
"""Each environment, and the extras of this package that it has; None for one without the package's requirements."""

_LOCK: Final = (
    "compile",
    "--quiet",
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-header",
    "--no-strip-extras",
    "--no-emit-index-url",
)


def python_of(name: str) -> Path:
    """Return the interpreter of an environment, which is made first where that is due."""
    folder = REPOSITORY / f".venv-{name}"
    python, lock, context = folder / "bin" / "python", _lock_file(name), folder / ".made-from"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not context.exists() or context.read_text() != digest:
        sys.stderr.write(f"Setting up {folder.name} from requirements/{lock.name} ...\n")
        _uv("venv", "--quiet", "--clear", f"--python={sys.executable}", str(folder))
        _uv("pip", "install", "--quiet", f"--python={python}", "--require-hashes", f"--requirements={lock}")
        context.write_text(digest)
    return python


def lock(names: tuple[str, ...] = tuple(EXTRAS)) -> None:
    """Write the lock files anew, with the newest versions that are allowed."""
    for name in names:
        extras = EXTRAS[name]
        wanted = [] if extras is None else ["pyproject.toml", *(f"--extra={extra}" for extra in extras)]
        wanted.append(str((_FOLDER / f"{name}.in").relative_to(REPOSITORY)))
        if (overrides := _FOLDER / f"{name}.overrides").exists():
            wanted.append(f"--overrides={overrides.relative_to(REPOSITORY)}")
        _uv("pip", *_LOCK, "--upgrade", *wanted, f"--output-file={_lock_file(name).relative_to(REPOSITORY)}")


def _lock_file(name: str) -> Path:
    return REPOSITORY / "requirements" / f"destinations-{name}.txt"


def _uv(*arguments: str) -> None:
    """Run uv as the Makefile does: with the index that pip is configured with, and what the system trusts."""
    environment = {"UV_SYSTEM_CERTS": "true", "UV_DEFAULT_INDEX": _pip_index()} | os.environ
    uv = _SETUP / "uv"
    subprocess.run([str(uv), *arguments], cwd=REPOSITORY, env=environment, check=True)


def _pip_index() -> str:
    pip = _SETUP / "pip"
    listed = subprocess.run([str(pip), "config", "list"], capture_output=True, text=True, check=True).stdout
    indexes = re.findall(r"^\S+\.index-url='(.*)'$", listed, flags=re.MULTILINE)
    return indexes[0] if indexes else ""
