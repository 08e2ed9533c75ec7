"""The wheel, built once for all tests and workers, and environments that hold it and nothing of the checkout.

A test module says `pytest_plugins = ("tests.support.wheel",)` and takes the fixture `installed`:

    def test_it_has_a_version(installed: Installation, tmp_path: Path) -> None:
        assert installed.run(tmp_path, "enrow", "--version").stdout.startswith("enrow ")

`installed.start(...)` does not wait: a test can kill it. `installed_with(extra)` gives an environment with an extra.

PYTEST_DONT_REWRITE: there are no assertions here.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

import pytest

from tests.support import REPOSITORY
from tests.support.uv import uv, uv_cached

LOCK: Final = REPOSITORY / "requirements" / "dev.txt"

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

InstalledWith: TypeAlias = Callable[[str], "Installation"]


@dataclass(frozen=True, slots=True)
class Installation:
    """An environment that holds the wheel and what it requires, in the locked versions."""

    folder: Path

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.folder / "bin" / "python"

    def environ(self, home: Path, env: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a new user whose home is `home`: no configuration but `env`."""
        return {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "DLT_DATA_DIR": str(home / "dlt"),
            "NO_PROXY": "127.0.0.1,localhost",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            **env,
        }

    def run(
        self,
        home: Path,
        command: str,
        *arguments: str,
        env: Mapping[str, str] = NOTHING,
        check: bool = True,
        timeout_s: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment, such as `enrow` or `python`, in the folder `home`.

        Raises:
            CalledProcessError: The exit code was not 0, and `check` is true; what it wrote is in its notes.
        """
        ended = subprocess.run(
            [str(self.folder / "bin" / command), *arguments],
            cwd=home,
            env=self.environ(home, env),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and ended.returncode != 0:
            error = subprocess.CalledProcessError(ended.returncode, ended.args, ended.stdout, ended.stderr)
            error.add_note(f"{ended.stdout}{ended.stderr}")
            raise error
        return ended

    def start(
        self, home: Path, command: str, *arguments: str, env: Mapping[str, str] = NOTHING
    ) -> subprocess.Popen[str]:
        """Start a command as `run` does, without waiting for it; its output goes to one pipe."""
        return subprocess.Popen(
            [str(self.folder / "bin" / command), *arguments],
            cwd=home,
            env=self.environ(home, env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def build(folder: Path) -> Path:
    """Build the wheel of the checkout into `folder`; return its file."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path, extra: str = "") -> Installation:
    """Install the wheel into a new environment in `folder`, in the locked versions.

    Raises:
        UvError: A package is neither in uv's cache nor at the index.
    """
    installation = Installation(folder)
    uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
    wanted = f"enrow-source{f'[{extra}]' if extra else ''} @ {wheel.as_uri()}"
    command = ("pip", "install", "--quiet", "--python", str(installation.python), "--constraint", str(LOCK), wanted)
    uv_cached(*command)
    return installation


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the workers of one run share, whether pytest-xdist started them or not."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def wheel(shared_folder: Path) -> Path:
    """The wheel of the checkout."""
    folder = _made_once(shared_folder / "dist", build)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def installed_with(wheel: Path, shared_folder: Path) -> InstalledWith:
    """Give the wheel with one extra, or with none for `""`, in an environment of its own."""

    def give(extra: str) -> Installation:
        name = f"installed-{extra}" if extra else "installed"
        return Installation(_made_once(shared_folder / name, lambda folder: install(wheel, folder, extra)))

    return give


@pytest.fixture(scope="session")
def installed(installed_with: InstalledWith) -> Installation:
    """The wheel as `pip install enrow-source` gives it."""
    return installed_with("")


def _made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Let the first worker make the folder, and the others wait for it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = folder.with_suffix(".done")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(folder)
            done.touch()
    return folder
