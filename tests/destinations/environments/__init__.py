"""The environments that the targets run in, each made from a hash-locked file when it is missing or out of date.

`<name>.in` beside this file lists what an environment holds, `<name>.overrides` what it holds against the bounds of the
package. `python -m tests.destinations.environments` writes `requirements/destinations-<name>.txt` from them, with the
newest versions that they allow.
"""

import hashlib
import sys
from pathlib import Path
from typing import Final

from tests.support import REPOSITORY
from tests.support.uv import uv

_FOLDER: Final = Path(__file__).resolve().parent

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
    python, lock, made_from = folder / "bin" / "python", _lock_file(name), folder / ".made-from"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not made_from.exists() or made_from.read_text() != digest:
        sys.stderr.write(f"Setting up {folder.name} from requirements/{lock.name} ...\n")
        uv("venv", "--quiet", "--clear", f"--python={sys.executable}", str(folder))
        uv("pip", "install", "--quiet", f"--python={python}", "--require-hashes", f"--requirements={lock}")
        made_from.write_text(digest)
    return python


def lock(names: tuple[str, ...] = tuple(EXTRAS)) -> None:
    """Rewrite the lock files, with the newest versions that are allowed."""
    for name in names:
        extras = EXTRAS[name]
        wanted = [] if extras is None else ["pyproject.toml", *(f"--extra={extra}" for extra in extras)]
        wanted.append(str((_FOLDER / f"{name}.in").relative_to(REPOSITORY)))
        if (overrides := _FOLDER / f"{name}.overrides").exists():
            wanted.append(f"--overrides={overrides.relative_to(REPOSITORY)}")
        uv("pip", *_LOCK, "--upgrade", *wanted, f"--output-file={_lock_file(name).relative_to(REPOSITORY)}")


def _lock_file(name: str) -> Path:
    return REPOSITORY / "requirements" / f"destinations-{name}.txt"
