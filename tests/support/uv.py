"""uv as the Makefile calls it: from `.venv`, with the index that pip is configured with."""

import os
import re
import subprocess
from functools import cache
from typing import Final

from tests.support import REPOSITORY

_SETUP: Final = REPOSITORY / ".venv" / "bin"
"""What `make setup` makes; other environments have neither uv nor pip."""


class UvError(Exception):
    """uv failed; the message is what it wrote."""


def uv(*arguments: str, is_offline: bool = False, timeout_s: float = 500) -> str:
    """Call uv in the repository; return what it prints.

    Raises:
        UvError: The exit code was not 0.
    """
    env = {"UV_SYSTEM_CERTS": "true", "UV_DEFAULT_INDEX": _pip_index()} | os.environ
    env |= {"UV_OFFLINE": "true"} if is_offline else {}
    command = [str(_SETUP / "uv"), *arguments]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if ended.returncode != 0:
        raise UvError(f"uv {' '.join(arguments)}: {ended.stderr}")
    return ended.stdout


def uv_cached(*arguments: str) -> str:
    """Call uv without the network, since `make setup` fills its cache; ask the index for what is missing.

    Raises:
        UvError: A package is neither in uv's cache nor at the index.
    """
    try:
        return uv(*arguments, is_offline=True)
    except UvError:
        return uv(*arguments)


@cache
def _pip_index() -> str:
    pip = str(_SETUP / "pip")
    configured = subprocess.run([pip, "config", "list"], capture_output=True, text=True, check=True).stdout
    indexes = re.findall(r"^\S+\.index-url='(.*)'$", configured, flags=re.MULTILINE)
    return indexes[0] if indexes else ""
