"""Leases: locks at a destination that has none which end with their holder.

The holder renews its lease. A run that waits takes the lease over when it has not been renewed for a while, by the
clock of the one who waits; or at once, when the holder was a process of this machine and is gone.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.exceptions import DatabaseException

from ..errors import BusyError, LockLostError
from ..settings import LOAD_LEASE_POLL_S, LOAD_LEASE_S, LOAD_WAIT_S

if TYPE_CHECKING:
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
    from dlt.destinations.sql_client import SqlClientBase

LOCK_TABLE: Final = "enrow_lock"
"""The table, and the name of the file, that a lease is kept in."""


class _State(NamedTuple):
    """What a lease says."""

    holder: str
    """Empty where nobody holds it."""
    renewals: int


class Lease(ABC):
    """A lease on a dataset."""

    def __init__(self) -> None:
        self._holder = _this_process()

    @contextmanager
    def held(self, busy: str) -> Iterator[None]:
        """Hold the lease while the `with` block runs, renewed by a thread.

        Raises:
            BusyError: Another run holds it, `LOAD_WAIT_S` after the first try.
            LockLostError: The block has ended, and another run has taken the lease over meanwhile.
        """
        self._take(busy)
        ended = Event()
        renewing = Thread(target=self._renew_until, args=(ended,), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()
            seen = self._read()
            self._swap(seen, _State("", 0), only_own=True)
        if seen.holder != self._holder:
            raise LockLostError

    def _take(self, busy: str) -> None:
        until, seen, since = time.monotonic() + LOAD_WAIT_S, self._read(), time.monotonic()
        while True:
            has_ended = not seen.holder or _is_gone(seen.holder) or time.monotonic() > since + LOAD_LEASE_S
            if has_ended and self._swap(seen, _State(self._holder, seen.renewals + 1)):
                return
            if time.monotonic() > until:
                raise BusyError(busy)
            time.sleep(LOAD_LEASE_POLL_S)
            if (now := self._read()) != seen:
                seen, since = now, time.monotonic()

    def _renew_until(self, ended: Event) -> None:
        while not ended.wait(LOAD_LEASE_S / 4):
            # What fails here is tried again, and the load itself says what is wrong with the destination.
            with suppress(Exception):
                seen = self._read()
                self._swap(seen, _State(self._holder, seen.renewals + 1), only_own=True)

    def _swap(self, seen: _State, new: _State, *, only_own: bool = False) -> bool:
        """Put a new state in the place of the one that was seen; return whether nobody was quicker."""
        if only_own and seen.holder != self._holder:
            return False
        self._write(seen, new)
        return not new.holder or self._read() == new

    @abstractmethod
    def _read(self) -> _State:
        """Read the state; makes the lease where there is none yet."""

    @abstractmethod
    def _write(self, seen: _State, new: _State) -> None:
        """Write the new state where the one that was seen is still there."""


class RowLease(Lease):
    """A lease that is a row of a table; one UPDATE is atomic in every warehouse."""

    def __init__(self, client: SqlClientBase[Any]) -> None:
        super().__init__()
        self._client = client
        self._table = client.make_qualified_table_name(LOCK_TABLE)
        names = (client.capabilities.casefold_identifier(name) for name in ("holder", "renewals"))
        self._holder_column, self._renewals_column = map(client.escape_column_name, names)

    def _read(self) -> _State:
        # Two runs that make the table may leave two rows: they are written as one, and read as one.
        sql = f"SELECT MAX({self._holder_column}), MAX({self._renewals_column}) FROM {self._table}"  # noqa: S608
        try:
            rows = self._client.execute_sql(sql)
        except DestinationUndefinedEntity:
            rows = None
        if not rows or rows[0][0] is None:
            self._make()
            return _State("", 0)
        return _State(str(rows[0][0]), int(rows[0][1]))

    def _write(self, seen: _State, new: _State) -> None:
        # Two that write at the same time: a database may refuse one of them.
        with suppress(DatabaseException):
            self._client.execute_sql(
                f"UPDATE {self._table} SET {self._holder_column} = %s, {self._renewals_column} = %s"  # noqa: S608
                f" WHERE {self._holder_column} = %s AND {self._renewals_column} = %s",
                *new,
                *seen,
            )

    def _make(self) -> None:
        if not self._client.has_dataset():
            with suppress(DatabaseException):  # another run makes it
                self._client.create_dataset()
        kinds = "VARCHAR(200), {} BIGINT" if self._client.capabilities.max_text_data_type_length else "TEXT, {} BIGINT"
        with suppress(DatabaseException):
            self._client.execute_sql(
                f"CREATE TABLE {self._table} ({self._holder_column} {kinds.format(self._renewals_column)})"
            )
        self._client.execute_sql(f"INSERT INTO {self._table} VALUES ('', 0)")  # noqa: S608 - a name of our own


class FileLease(Lease):
    """A lease that is an object in a bucket: whoever takes it makes the next one, which only one of several can."""

    def __init__(self, client: FilesystemClient) -> None:
        super().__init__()
        self._files = client.fs_client
        self._prefix = f"{client.dataset_path.rstrip('/')}.{LOCK_TABLE}."
        self._number = 0

    def _read(self) -> _State:
        self._files.invalidate_cache()
        numbers = [int(path.rpartition(".")[2]) for path in self._files.glob(f"{self._prefix}*")]
        self._number = max(numbers, default=0)
        try:
            return _State(*json.loads(self._files.cat_file(f"{self._prefix}{self._number}")))
        except FileNotFoundError:
            return _State("", 0)

    def _write(self, seen: _State, new: _State) -> None:
        body, before = json.dumps(new).encode(), f"{self._prefix}{self._number}"
        if seen.holder == self._holder:
            self._files.pipe_file(before, body)
            return
        with suppress(FileExistsError):
            self._files.pipe_file(f"{self._prefix}{self._number + 1}", body, mode="create")
        with suppress(FileNotFoundError):
            self._files.rm_file(before)


def _this_process() -> str:
    return json.dumps([socket.gethostname(), _boot(), os.getpid(), _started(os.getpid()), uuid.uuid4().hex[:12]])


def _is_gone(holder: str) -> bool:
    """Whether the holder was a process of this machine that has ended; False where that is not known."""
    host, boot, pid, started, _ = json.loads(holder)
    is_here = bool(boot) and (host, boot) == (socket.gethostname(), _boot())
    return is_here and _started(pid) != started


def _boot() -> str:
    """Return a name for the time since this machine was started; empty where the system does not say."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return ""


def _started(pid: int) -> str:
    """Return when a process was started, in the system's own count; empty where there is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return ""
