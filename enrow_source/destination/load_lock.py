"""One load at a time into a dataset.

A merge deletes and inserts. Two at a time would both find nothing to delete, and both insert.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import dlt
from dlt.common.destination.client import JobClientBase
from dlt.destinations.exceptions import DatabaseException

from ..errors import BusyError, ConfigurationError, LockLostError
from ..settings import LOAD_WAIT_S
from . import file_lock
from .lease import FileLease, RowLease
from .session import DUCKDB, FILESYSTEM, POSTGRES

if TYPE_CHECKING:
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
    from dlt.destinations.impl.postgres.postgres import PostgresClient
    from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
    from dlt.destinations.sql_client import SqlClientBase


def _busy(wait_s: float) -> str:
    return f"another run has been at work in this dataset for more than {wait_s:g} seconds: try again later"


_BUSY: Final = _busy(LOAD_WAIT_S)


@contextmanager
def load_lock(pipeline: dlt.Pipeline, client: JobClientBase | None = None) -> Iterator[None]:
    """Hold the dataset of the pipeline while the `with` block runs; wait for who holds it.

    Postgres and the operating system release the lock of a process that was killed. Elsewhere the lock is a lease,
    which ends when its holder is known to be gone or has not renewed it. A `client` that is given is not connected.

    Raises:
        BusyError: Another run holds it for too long.
        LockLostError: Postgres has ended the connection that held it, or this process has hung and another run has
            taken the lease over.
    """
    kind = pipeline.destination.destination_type
    client = client or pipeline.destination_client()
    if kind == POSTGRES:
        with _another(cast("PostgresClient", client).sql_client) as lock_client, _advisory_lock(lock_client):
            yield
    elif (file := _lock_file(pipeline, client)) is not None:
        with file_lock.held(file, LOAD_WAIT_S, _BUSY):
            yield
    elif kind == FILESYSTEM:
        with client, FileLease(cast("FilesystemClient", client)).held(_BUSY):
            yield
    else:
        with pipeline.sql_client() as lease_client, RowLease(lease_client).held(_BUSY):
            yield


def _lock_file(pipeline: dlt.Pipeline, client: JobClientBase) -> Path | None:
    """Return the file whose lock stands for the dataset; None where it is not on this machine."""
    if (database := database_file(pipeline, client)) is not None:
        return _beside(database)
    if pipeline.destination.destination_type == FILESYSTEM:
        lake = cast("FilesystemClient", client)
        return Path(f"{lake.dataset_path.rstrip('/')}.lock") if lake.is_local_filesystem else None
    return None


def database_file(pipeline: dlt.Pipeline, client: JobClientBase | None = None) -> Path | None:
    """Return the file of a DuckDB database; None where the destination is another one or in memory.

    Raises:
        ConfigurationError: Its folder does not exist: DuckDB makes none, and one that is made may be a mistyped one.
    """
    if pipeline.destination.destination_type != DUCKDB:
        return None
    client = client or pipeline.destination_client()
    database = str(getattr(getattr(client.config, "credentials", None), "database", "") or "")
    if not database or database.startswith(":"):
        return None
    if not (folder := Path(database).parent).is_dir():
        raise ConfigurationError(f"there is no folder {folder} for the file of DuckDB: make it, or correct {database}")
    return Path(database)


@contextmanager
def held_database(
    pipeline: dlt.Pipeline,
    wait_s: float = LOAD_WAIT_S,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    creates: bool = True,
) -> Iterator[None]:
    """Hold the file of DuckDB, which one process at a time can open, while the `with` block runs.

    Any other destination is held by `load_lock` alone. Unless the block `creates` the file, one that is not there is
    not held. Raises BusyError where another run holds it for `wait_s` seconds, or until `should_stop`.
    Raises ConfigurationError where its folder does not exist, or takes no files.
    """
    database = database_file(pipeline)
    if database is None or not (creates or database.exists()):
        yield
        return
    with file_lock.held(_beside(database), wait_s, _busy(wait_s), should_stop):
        yield


def _beside(database: Path) -> Path:
    return database.with_name(f"{database.name}.lock")


def _another(client: Psycopg2SqlClient) -> Psycopg2SqlClient:
    """Return a client for the lock alone: dlt resets a connection whose statement fails, and that ends its locks."""
    return type(client)(client.dataset_name, client.staging_dataset_name, client.credentials, client.capabilities)


@contextmanager
def _advisory_lock(client: SqlClientBase[Any]) -> Iterator[None]:
    digest = hashlib.sha256(f"enrow_source {client.dataset_name}".encode()).digest()
    key = int.from_bytes(digest[:8], signed=True)
    try:
        # The connection says nothing for an hour: the server asks whether somebody is still there, and does not end it.
        client.execute_sql(
            "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout' UNION ALL"  # noqa: S608
            f" SELECT set_config('lock_timeout', '{LOAD_WAIT_S:g}s', false) ||"
            " set_config('tcp_keepalives_idle', '60', false) || pg_advisory_lock(%s)::text",
            key,
        )
    except DatabaseException as error:
        if "lock timeout" in str(error):
            raise BusyError(_BUSY) from None
        raise
    yield
    try:
        (is_held,) = (row[0] for row in client.execute_sql("SELECT pg_advisory_unlock(%s)", key) or ())
    except DatabaseException as error:
        raise LockLostError from error
    if not is_held:
        raise LockLostError
