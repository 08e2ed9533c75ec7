"""Locks on files: held by a process, and released by the operating system when it ends, however it ends."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Final

from dlt.common import logger

from ..errors import BusyError, ConfigurationError
from ..settings import LOCK_POLL_S

_HAS_LOCKS: Final = importlib.util.find_spec("fcntl") is not None
"""Windows has other ones: two runs at a time are not kept apart there."""
if _HAS_LOCKS:
    import fcntl

_GUARD: Final = RLock()
_HELD: Final[dict[Path, tuple[int, int]]] = {}
"""The locks of this process: the open file, and how often it was taken. One process may take a lock again."""


def take(file: Path, wait_s: float, busy: str, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Take the lock, and wait for `wait_s` seconds, or until `should_stop`; then raise BusyError with `busy`.

    Raises ConfigurationError where its file cannot be made.
    """
    if not _HAS_LOCKS:
        return
    path, until, is_logged = file.absolute(), time.monotonic() + wait_s, False
    while not _is_taken(path):
        if time.monotonic() >= until or should_stop():
            raise BusyError(busy)
        if not is_logged:
            logger.warning(f"another run is at work, and has {path}: waiting for it")
            is_logged = True
        time.sleep(LOCK_POLL_S)


def release(file: Path) -> None:
    """Release the lock, where it was taken as often as it is released."""
    path = file.absolute()
    with _GUARD:
        if path not in _HELD:
            return
        descriptor, times = _HELD.pop(path)
        if times > 1:
            _HELD[path] = descriptor, times - 1
            return
        # Before the lock ends: whoever waits for this file sees that it is gone, and makes another.
        path.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def held(file: Path, wait_s: float, busy: str, should_stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold the lock while the `with` block runs; raises as `take` does."""
    take(file, wait_s, busy, should_stop)
    try:
        yield
    finally:
        release(file)


def _is_taken(path: Path) -> bool:
    with _GUARD:
        if path in _HELD:
            descriptor, times = _HELD[path]
            _HELD[path] = descriptor, times + 1
            return True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise ConfigurationError(
                f"the lock {path}, which keeps runs apart, cannot be made: {error.strerror}. Choose a folder that"
                " can be written, or make this one so"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                _HELD[path] = descriptor, 1
                return True
        os.close(descriptor)  # it was deleted by who held it before
        return False
