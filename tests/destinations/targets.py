"""The destinations of the conformance suite, and how each is had on a bare machine or with a real account."""

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import dlt
import requests
from dlt.common.destination import Destination

from tests.destinations import servers
from tests.destinations.dataset import LakeDataset, NewDestination, TargetDataset


@dataclass(frozen=True, slots=True)
class Started:
    """A destination that is up."""

    destination: NewDestination
    environ: Mapping[str, str] = field(default_factory=dict)
    """What is to be set while a case runs."""
    pipeline_options: Callable[[], Mapping[str, Any]] = dict
    """Further arguments of `dlt.pipeline`."""


@dataclass(frozen=True, slots=True)
class Target:
    """One destination of the suite."""

    name: str
    start: Callable[[Path], AbstractContextManager[Started]]
    environment: str | None = None
    """Of `environments`; None for the one of `make setup`."""
    server_environment: str | None = None
    """Another one, that its server runs in."""
    warehouse: type[TargetDataset] = TargetDataset
    empty_text_kept_by: str | None = None
    """The file format that an empty text takes, to be one at the destination; None where any does."""
    layout: tuple[str, ...] = ()
    """What the layout of `phone_results` is to tell."""
    real: str | None = None
    """dlt's name of the destination, where the target can be run against a real account."""
    real_staging: str | None = None
    """dlt's name of what such a target stages its loads in."""
    emulated: str | None = None
    """What it runs on here, where that is not the real thing."""


@contextmanager
def _duckdb(folder: Path) -> Iterator[Started]:
    yield Started(lambda: dlt.destinations.duckdb(str(folder / "warehouse.duckdb")))


@contextmanager
def _postgres(_: Path) -> Iterator[Started]:
    from tests.support.postgres import Postgres  # noqa: PLC0415 - not every environment has the server

    with Postgres() as server:
        yield Started(lambda: dlt.destinations.postgres(server.url))


@contextmanager
def _snowflake(_: Path) -> Iterator[Started]:
    with servers.fakesnow() as port:
        yield Started(snowflake_at(port))


@contextmanager
def _snowflake_staged(_: Path) -> Iterator[Started]:
    with servers.s3() as url, servers.fakesnow(url) as port:
        bucket = _bucket(url, "staging")
        yield Started(snowflake_at(port), pipeline_options=lambda: {"staging": bucket()})


def snowflake_at(port: int) -> NewDestination:
    credentials = {
        "database": "WAREHOUSE",
        "username": "fake",
        "password": "snow",
        "host": "fakesnow",
        # What the emulator cannot do is answered with 500, which the connector retries forever.
        "query": {"host": "127.0.0.1", "port": port, "protocol": "http", "network_timeout": 1},
    }
    # fakesnow parses one statement at a time, and cannot copy JSON by column names, which dlt's own rows are otherwise.
    abilities: dict[str, Any] = {
        "supports_multiple_statements": False,
        "preferred_loader_file_format": "parquet",
        "preferred_staging_file_format": "parquet",
    }
    return lambda: dlt.destinations.snowflake(credentials=credentials, **abilities)


@contextmanager
def _bigquery(_: Path) -> Iterator[Started]:
    with servers.bqemulator() as url:
        yield Started(bigquery_at, bigquery_environ(url))


@contextmanager
def _bigquery_staged(folder: Path) -> Iterator[Started]:
    with servers.cloud_storage(folder, "staging") as (storage, buckets), servers.bqemulator(buckets) as url:
        # Without the last one gcsfs asks for the kind of a bucket by gRPC, which the emulator has not.
        gcs = {"STORAGE_EMULATOR_HOST": storage, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
        options = {"token": "anon", "endpoint_url": storage}
        yield Started(
            bigquery_at,
            bigquery_environ(url) | gcs,
            lambda: {
                "staging": dlt.destinations.filesystem(
                    "gs://staging", credentials=_google_credentials(), kwargs=options
                )
            },
        )


def bigquery_environ(url: str) -> dict[str, str]:
    # The emulator does not unpack what is loaded.
    return {"BIGQUERY_EMULATOR_HOST": url, "DATA_WRITER__DISABLE_COMPRESSION": "true"}


def bigquery_at() -> Destination[Any, Any]:
    # The emulator adds one column in a statement.
    abilities: dict[str, Any] = {"project_id": BIGQUERY_PROJECT, "alter_add_multi_column": False}
    return dlt.destinations.bigquery(credentials=_google_credentials(), **abilities)


def _google_credentials() -> Any:
    # In BigQuery's environment alone.
    credentials: Any = importlib.import_module("google.oauth2.credentials")
    return credentials.Credentials(token="fake", quota_project_id=BIGQUERY_PROJECT)


@contextmanager
def _folder(folder: Path) -> Iterator[Started]:
    _install_extensions()
    yield Started(lambda: dlt.destinations.filesystem(str(folder / "lake")))


@contextmanager
def _s3(_: Path) -> Iterator[Started]:
    _install_extensions()
    with servers.s3() as url:
        yield Started(_bucket(url, "lake"))


def _bucket(url: str, name: str) -> NewDestination:
    requests.put(f"{url}/{name}", timeout=10).raise_for_status()
    credentials = {
        "aws_access_key_id": "made-up",
        "aws_secret_access_key": "made-up",
        "region_name": "us-east-1",
        "endpoint_url": url,
    }
    return lambda: dlt.destinations.filesystem(f"s3://{name}", credentials=credentials)


def _install_extensions() -> None:
    """Install the extensions that dlt reads Delta tables with, which DuckDB would download otherwise."""
    for name in ("delta", "httpfs", "aws"):
        importlib.import_module("duckdb_extensions").import_extension(name)


@contextmanager
def real_account(target: Target) -> Iterator[Started]:
    """Load into a real account: its credentials are in the environment, as dlt reads them."""
    environ = {name: value for name, value in os.environ.items() if name.startswith("DESTINATION__")}
    if target.real is None:
        raise ValueError(f"{target.name} is the real thing already")
    staging = {} if target.real_staging is None else {"staging": target.real_staging}
    yield Started(getattr(dlt.destinations, target.real), environ, lambda: staging)


COMMENTS: Final = ("Position of the search in the submitted array, from 0.", "`found` or `not_found`.")
INDEX: Final = "CREATE INDEX phone_results_batch_id"
SNOWFLAKE: Final = ('CLUSTER BY ("BATCH_ID")', *(f"COMMENT '{comment}'" for comment in COMMENTS))
BIGQUERY: Final = (
    "PARTITION BY DATE(`fetched_at`)",
    "CLUSTER BY `batch_id`",
    *(f"description='{comment}'" for comment in COMMENTS),
)

BIGQUERY_PROJECT: Final = "enrow-conformance"

TARGETS: Final = {
    target.name: target
    for target in (
        Target("duckdb", _duckdb, layout=COMMENTS),
        Target("duckdb2", _duckdb, "duckdb2", layout=COMMENTS),
        Target("postgres", _postgres, empty_text_kept_by="insert_values", layout=(*COMMENTS, INDEX), real="postgres"),
        Target(
            "delta",
            _folder,
            "lake",
            warehouse=LakeDataset,
            layout=("partitioned by []",),
        ),
        Target(
            "delta-s3",
            _s3,
            "lake",
            warehouse=LakeDataset,
            layout=("partitioned by []",),
            real="filesystem",
            emulated="moto",
        ),
        Target("snowflake", _snowflake, "snowflake", layout=SNOWFLAKE, real="snowflake", emulated="fakesnow"),
        Target(
            "snowflake-staged",
            _snowflake_staged,
            "snowflake",
            "fakesnow-s3",
            layout=SNOWFLAKE,
            real="snowflake",
            real_staging="filesystem",
            emulated="fakesnow, moto",
        ),
        Target(
            "bigquery", _bigquery, "bigquery", "bqemulator", layout=BIGQUERY, real="bigquery", emulated="bqemulator"
        ),
        Target(
            "bigquery-staged",
            _bigquery_staged,
            "bigquery",
            "bqemulator",
            layout=BIGQUERY,
            real="bigquery",
            real_staging="filesystem",
            emulated="bqemulator, gcp-storage-emulator",
        ),
    )
}
QUICK: Final = ("duckdb",)
"""What `make test` runs."""
