"""Checks of settings, key, versions and destination, and of what is loaded there.

One line for each check; no batch is fetched, nothing stays at the destination, and no value of a setting is shown.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase
from packaging.requirements import Requirement

from ..api.account import Account, fetch_account
from ..destination.credits import compare_credits, credits_row, read_credits
from ..destination.delta import check_deltalake
from ..destination.hide import rows_in_clear
from ..destination.load_lock import database_file, held_database
from ..destination.results_loaded import compare_rows
from ..destination.row_log import append_row
from ..destination.session import settings_folder
from ..destination.suppressions import configured_pii, configured_privacy, recorded_suppressions
from ..errors import ConfigurationError, EnrowError
from ..options import misplaced_settings, settings_files
from ..settings import LEASE_WAIT_S, SOURCE_NAME
from ..source import enrow_source, option_names
from .causes import first_line, one_line
from .pipeline import build_pipeline


class Outcome(StrEnum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Check:
    """One line."""

    name: str
    outcome: Outcome
    message: str

    def __str__(self) -> str:
        return f"{self.outcome:<8}{self.name:<14}{' '.join(self.message.split())}"


Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Clash:
    """Versions that are known not to work together."""

    package: str
    beside: str
    outcome: Outcome
    effect: str


CLASHES = (
    Clash("sqlglot>=30.22", "dlt<1.32", Outcome.FAILED, "every read through pipeline.dataset() fails: sqlglot<30.22"),
    Clash(
        "duckdb>=2",
        "dlt<1.32",
        Outcome.WARNING,
        "loads work, dataset().arrow() and dlt's dashboard fail, and DuckDB 1.5 cannot open the file: duckdb<2",
    ),
    Clash("snowflake-connector-python>=5", "fakesnow", Outcome.WARNING, "the emulator fails, Snowflake does not"),
)


def checks(destination: str | None, dataset: str, base_url: str | None = None) -> Iterator[Check]:
    """Yield what each check found, those that need no network first."""
    yield from _versions()
    yield from _files()
    yield from _options()
    account, key = _tried("api key", lambda: _account(base_url))
    yield key
    more, reached = _tried("destination", lambda: _destination(destination, dataset, account))
    yield reached
    if more is not None:
        yield _tried("results", lambda: (None, _results(destination, dataset)))[1]
    yield from more or ()


def _tried(name: str, check: Callable[[], tuple[Found, str]]) -> tuple[Found | None, Check]:
    """Return what the check found, None where it failed, and the line of it."""
    try:
        found, message = check()
    except (EnrowError, ConfigurationException) as error:
        return None, Check(name, Outcome.FAILED, one_line(error))
    except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
        return None, Check(name, Outcome.FAILED, first_line(error))
    return found, Check(name, Outcome.OK, message)


def _versions() -> Iterator[Check]:
    is_fine = True
    for clash in CLASHES:
        pair = Requirement(clash.package), Requirement(clash.beside)
        if all(map(_is_met, pair)):
            is_fine = False
            named = " with ".join(f"{one.name} {_version(one.name)}" for one in pair)
            yield Check("versions", clash.outcome, f"{named}: {clash.effect}")
    if is_fine:
        message = ", ".join(f"{name} {_version(name)}" for name in ("dlt", "duckdb", "sqlglot"))
        yield Check("versions", Outcome.OK, f"Python {sys.version.split()[0]}, {message}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _is_met(requirement: Requirement) -> bool:
    found = _version(requirement.name)
    return found is not None and requirement.specifier.contains(found, prereleases=True)


def _files() -> Iterator[Check]:
    """Check the files that dlt reads here, and settings that it would ignore in silence."""
    files = settings_files()
    if not files:
        message = f"none in {settings_folder()}: dlt reads .dlt where the command is run, so only the environment holds"
        yield Check("files", Outcome.WARNING, message)
    try:
        misplaced = list(misplaced_settings(option_names()))
    except ConfigurationError as error:
        yield Check("files", Outcome.FAILED, str(error))
        return
    for setting in misplaced:
        yield Check("files", Outcome.FAILED, str(setting))
    if files and not misplaced:
        yield Check("files", Outcome.OK, ", ".join(map(str, files)))


def _options() -> Iterator[Check]:
    """Report which options are set and where, and let the source check them."""
    found = {name: where for name in option_names() if (where := _where(name)) is not None}
    message = ", ".join(f"{name} from {where}" for name, where in found.items()) or "all as they are by default"
    yield _tried("options", lambda: (enrow_source([]), message))[1]


def _where(option: str) -> str | None:
    """Find the provider that the option is taken from."""
    for sections in [("sources", SOURCE_NAME), *([()] if option == "enrow_api_key" else [])]:
        for provider in dlt.config.config_providers:
            value, key = provider.get_value(option, Any, "", *sections)
            if value is not None:
                return f"{provider.name} ({key})"
    return None


def _account(base_url: str | None) -> tuple[Account, str]:
    account = fetch_account(base_url)
    return account, "accepted" if account.credits is None else f"accepted; {account.credits:,.0f} credits left"


def _destination(destination: str | None, dataset: str, account: Account | None) -> tuple[list[Check], str]:
    """Return what its rows say, and where it is."""
    more: list[Check] = []
    with TemporaryDirectory() as folder:
        pipeline = build_pipeline(destination, dataset, pipelines_dir=folder)
        with _files_of_database(pipeline), pipeline.destination_client() as client:
            if isinstance(client, FilesystemClient):
                where = _write_to_files(client)
            elif isinstance(client, SqlJobClientBase):
                erased = recorded_suppressions(client.sql_client, configured_privacy())
                where = f"{_write_to_tables(client)}{f', {erased} are erased and kept out' if erased else ''}"
                more += _of_rows(client.sql_client)
            else:
                raise TypeError(f"{type(client).__name__} has neither tables nor files")
            # Where runs have written their balance the one of now is added; nowhere else is anything left.
            if account is not None:
                append_row(pipeline, client, credits_row("check", str(uuid.uuid4()), account.credits), creates=False)
                compare_credits(account.credits)
            place = f"{pipeline.destination.destination_name} ({client.config})"
        return more, f"{place}: {where}; nothing is left there"


def _results(destination: str | None, dataset: str) -> str:
    """Compare what is loaded with what the ledger says."""
    with TemporaryDirectory() as folder:
        pipeline = build_pipeline(destination, dataset, pipelines_dir=folder)
        with _files_of_database(pipeline):
            return compare_rows(pipeline)


def _of_rows(client: SqlClientBase[Any]) -> Iterator[Check]:
    """Report what the rows say that are there already."""
    if configured_pii().hides and (count := rows_in_clear(client)):
        message = (
            f"{count:,} rows were loaded in clear, before pii was set: enrow erase --existing --execute hides them"
        )
        yield Check("privacy", Outcome.WARNING, message)
    if (reading := read_credits(client)).is_known:
        yield Check("credits", Outcome.OK, f"credits_cost is {reading}")


@contextmanager
def _files_of_database(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Hold the file of a database; remove one that was made to check whether it can be."""
    file = database_file(pipeline)
    existed = file is None or file.exists()
    with held_database(pipeline, LEASE_WAIT_S, creates=False):
        try:
            yield
        finally:
            if file is not None and not existed:
                file.unlink(missing_ok=True)


def _write_to_tables(client: SqlJobClientBase) -> str:
    """Make a table, fill it and drop it, in the dataset and in the one that merges are staged in."""
    sql, table_name = client.sql_client, f"enrow_check_{uuid.uuid4().hex[:8]}"
    message = ""
    for place in (nullcontext(), sql.with_staging_dataset()):
        with place:
            is_new = not sql.has_dataset()
            if is_new:
                sql.create_dataset()
            table = sql.make_qualified_table_name(table_name)
            try:
                sql.execute_sql(f"CREATE TABLE {table} (written INT)")
                try:
                    sql.execute_sql(f"INSERT INTO {table} VALUES (1)")  # noqa: S608 - a name of our own
                finally:
                    sql.execute_sql(f"DROP TABLE {table}")
            finally:
                if is_new:
                    sql.drop_dataset()
            message = message or f"dataset {sql.dataset_name} {'can be made' if is_new else 'is there'}"
    return f"{message}, a table was written"


def _write_to_files(client: FilesystemClient) -> str:
    check_deltalake()
    existed = client.fs_client.exists(client.dataset_path)
    file = f"{client.dataset_path}/enrow_check_{uuid.uuid4().hex[:8]}"
    client.fs_client.makedirs(client.dataset_path, exist_ok=True)
    try:
        client.fs_client.pipe(file, b"written")
        client.fs_client.rm(file)
    finally:
        if not existed and client.fs_client.exists(client.dataset_path):
            client.fs_client.rm(client.dataset_path, recursive=True)
    return f"a file was written to {client.dataset_name}"
