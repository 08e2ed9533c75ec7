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
from ..tables.schema import SUBMISSION_LEASE
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
        """Take it, and wait for it where another one holds it; return whether it is held now."""
        deadline, is_logged = time.monotonic() + self._wait_s, False
        while not self._is_taken():
            if time.monotonic() > deadline or should_stop():
                return False
            held = read_lease(self._store)
            if held is not None and not is_logged:
                logger.warning(f"another run, {held[0]}, is submitting to this dataset: waiting for it")
                is_logged = True
            time.sleep(LEASE_POLL_S)
        return True

    def renew(self) -> bool:
        """Renew it where it is still held; return whether it is known to be."""
        try:
            self._update("held_until", "holder", [self._until(), self.holder])
            return self._is_held()
        except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
            logger.warning(f"the lease could not be renewed, and counts as lost: {type(error).__name__}")
            return False

    def release(self) -> None:
        """Let go of it where it is held; where that fails it expires."""
        try:
            self._update("holder", "holder", ["", self.holder])
        except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
            logger.warning(f"the lease could not be released, and expires by itself: {type(error).__name__}")

    def _is_taken(self) -> bool:
        """Take it where it is free, expired, or held by who is dead; return whether it is held now.

        One conditional UPDATE decides, and a read shows for whom. There may be two rows where two have made the first
        one at the same time: who holds it holds all of them.
        """
        store, table, column = self._store, self._store.table(SUBMISSION_LEASE.name), self._store.column
        if not store.client.execute_sql(f"SELECT {column('holder')} FROM {table}"):  # noqa: S608 - escaped names
            store.insert(SUBMISSION_LEASE.name, [{"holder": "", "held_until": datetime.now(UTC)}])
        store.client.execute_sql(
            f"UPDATE {table} SET {column('holder')} = %s, {column('held_until')} = %s"  # noqa: S608 - escaped names
            f" WHERE {column('holder')} IN ('', %s, %s) OR {column('held_until')} < %s",
            self.holder,
            self._until(),
            self.holder,
            self._dead_holder() or self.holder,
            datetime.now(UTC),
        )
        if self._is_held():
            return True
        self.release()  # of two rows, both may have got one
        return False

    def _is_held(self) -> bool:
        """Read who holds it, not how many rows an UPDATE has changed: what a driver sends again changes none.

        What says that it is held is read again where the connection may have missed that another one has taken it.
        """
        return self._is_own() and (not self._store.refresh() or self._is_own())

    def _is_own(self) -> bool:
        store = self._store
        sql = f"SELECT {store.column('holder')} FROM {store.table(SUBMISSION_LEASE.name)}"  # noqa: S608 - escaped names
        return {holder for (holder,) in store.client.execute_sql(sql) or ()} == {self.holder}

    def _update(self, column: str, where: str, values: list[object]) -> None:
        store = self._store
        self._store.client.execute_sql(
            f"UPDATE {store.table(SUBMISSION_LEASE.name)} SET {store.column(column)} = %s"  # noqa: S608 - escaped names
            f" WHERE {store.column(where)} = %s",
            *values,
        )

    def _until(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._lease_s)

    def _dead_holder(self) -> str | None:
        held = read_lease(self._store)
        return held[0] if held is not None and is_dead(held[0]) else None


def read_lease(store: Store) -> tuple[str, datetime] | None:
    """Return who holds the lease and until when; None where nobody does."""
    columns = f"{store.column('holder')}, {store.column('held_until')}"
    table, holder = store.table(SUBMISSION_LEASE.name), store.column("holder")
    rows = store.client.execute_sql(f"SELECT {columns} FROM {table} WHERE {holder} <> ''")  # noqa: S608 - escaped names
    held = sorted((until, name) for name, until in rows or ())
    if not held:
        return None
    until, name = held[-1]
    return name, until if until.tzinfo else until.replace(tzinfo=UTC)


def is_dead(holder: str) -> bool:
    """Return whether a holder is a process of this machine that has ended: nobody need wait for it.

    It may be wrong, of another container with the same name: whoever it is taken from notices before it sends.
    """
    found = re.fullmatch(r"(.+):(\d+):\w+", holder)
    return bool(found and found[1] == _host() and _BOOT_ID.exists() and not (_PROCESSES / found[2]).exists())


def _host() -> str:
    """Name the machine, and since when it runs: a number of a process says nothing beyond that."""
    boot = _BOOT_ID.read_text().strip()[:8] if _BOOT_ID.exists() else ""
    return f"{socket.gethostname()}/{boot}"
