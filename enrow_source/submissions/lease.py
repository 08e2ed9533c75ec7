"""The lease: one submitter at a time for a dataset. Nobody is sent twice whoever holds it, see `protocol`."""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from dlt.common import logger

from ..settings import LEASE_POLL_S, LEASE_S, LEASE_WAIT_S
from .store import Store

_PROCESSES: Final = Path("/proc")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Lease:
    """The lease of one run; released at the end of the `with` block."""

    def __init__(self, store: Store, *, lease_s: float = LEASE_S, wait_s: float = LEASE_WAIT_S) -> None:
        self._store = store
        self._lease_s = lease_s
        self._wait_s = wait_s
        self.holder = f"{_host()}:{os.getpid()}:{secrets.token_hex(4)}"

    def take(self, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Take it, and wait for it where another one holds it; tell whether it is held now."""
        deadline, told = time.monotonic() + self._wait_s, False
        while not self._store.take_lease(self.holder, self._until(), self._dead_holder()):
            held = self._store.lease()
            if time.monotonic() > deadline or should_stop():
                return False
            if held is not None and not told:
                logger.warning(f"another run, {held[0]}, is submitting to this dataset: waiting for it")
                told = True
            time.sleep(LEASE_POLL_S)
        return True

    def renew(self) -> bool:
        """Renew it where it is still held; tell whether it is."""
        return self._store.renew_lease(self.holder, self._until())

    def release(self) -> None:
        """Let go of it where it is held; where that fails it expires."""
        try:
            self._store.release_lease(self.holder)
        except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
            logger.warning(f"the lease could not be released, and expires by itself: {type(error).__name__}")

    def _until(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._lease_s)

    def _dead_holder(self) -> str | None:
        """Return the holder, where it is a process of this machine that is no more: nobody need wait for it.

        It may be wrong, of another container with the same name: whoever it is taken from notices before it sends.
        """
        held = self._store.lease()
        found = re.fullmatch(r"(.+):(\d+):\w+", held[0]) if held else None
        if found is None or found[1] != _host() or not _BOOT_ID.exists():
            return None
        return None if (_PROCESSES / found[2]).exists() else found[0]


def _host() -> str:
    """Name the machine, and since when it runs: a number of a process says nothing beyond that."""
    boot = _BOOT_ID.read_text().strip()[:8] if _BOOT_ID.exists() else ""
    return f"{socket.gethostname()}/{boot}"
