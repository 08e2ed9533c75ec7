"""A warehouse that is harmed by hand: a DuckDB file or a Postgres schema, and the pipelines that load into it.

PYTEST_DONT_REWRITE: there are no assertions here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import dlt
import duckdb
import pytest

from tests.support.postgres import Postgres

DATASET: Final = "held"

Query: TypeAlias = Callable[[str], list[tuple[Any, ...]]]


class Store:
    """The tables that a pipeline loads into, and SQL on them."""

    def __init__(
        self, destination: Callable[[], Any], query: Callable[[str], list[tuple[Any, ...]]], folder: Path
    ) -> None:
        """Take a destination, what runs SQL at it, and where the working folders are."""
        self.destination = destination
        self.sql = query
        self._folder = folder

    def pipeline(self, container: str = "first") -> dlt.Pipeline:
        """Build the pipeline as a container does that has the working folders of that name, or none yet."""
        pipeline: dlt.Pipeline = dlt.pipeline(
            "enrow",
            destination=self.destination(),
            dataset_name=DATASET,
            pipelines_dir=str(self._folder / container),
        )
        return pipeline

    def run(self, source: Any, container: str = "first", **options: Any) -> None:
        """Load the source."""
        self.pipeline(container).run(source, **options)

    def counts(self, table: str = "phone_results") -> dict[str, int]:
        """Count the rows of each batch."""
        return dict(self.sql(f"SELECT batch_id, COUNT(*) FROM {DATASET}.{table} GROUP BY batch_id"))


@contextmanager
def duckdb_store(folder: Path) -> Iterator[Store]:
    """A DuckDB file in the folder."""
    file = str(folder / "store.duckdb")

    def query(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(file) as connection:
            return connection.execute(sql).fetchall()

    # Held open: dlt connects to it a dozen times in a run, and each is quicker then.
    with duckdb.connect(file):
        yield Store(lambda: dlt.destinations.duckdb(file), query, folder)


@contextmanager
def postgres_store(server: Postgres, folder: Path) -> Iterator[Store]:
    """A schema of a running server, which is dropped afterwards."""

    def query(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in server.query(sql)]

    for name in (DATASET, f"{DATASET}_staging"):
        query(f"DROP SCHEMA IF EXISTS {name} CASCADE")
    yield Store(lambda: dlt.destinations.postgres(server.url), query, folder)


@pytest.fixture(params=["duckdb", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A DuckDB file, and a Postgres schema; a module that takes it also has the plugin `tests.support.postgres`."""
    if request.param == "duckdb":
        with duckdb_store(tmp_path) as made:
            yield made
    else:
        with postgres_store(request.getfixturevalue("postgres"), tmp_path) as made:
            yield made
