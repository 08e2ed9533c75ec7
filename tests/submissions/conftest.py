"""Where submissions are tested: a DuckDB file and a real Postgres, with the simulated API."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from enrow_source import SubmissionReport, run, submit
from enrow_source.testing import SimulatedEnrow
from tests.support.postgres import Postgres


@dataclass
class Place:
    """A dataset of its own, and the API that is submitted to."""

    api: SimulatedEnrow
    folder: Path
    destination: Any
    dataset: str
    wiped: int = 0

    def pipeline(self, name: str = "enrow") -> dlt.Pipeline:
        """A pipeline with the working folder that is there, or none yet."""
        folder = str(self.folder / f"pipelines-{self.wiped}")
        made: dlt.Pipeline = dlt.pipeline(
            name, destination=self.destination, dataset_name=self.dataset, pipelines_dir=folder
        )
        return made

    def wipe(self) -> None:
        """Forget the working folders, as a new container does."""
        self.wiped += 1

    def submit(self, people: Any, max_credits: float | None = 100_000, **options: Any) -> SubmissionReport:
        """Submit, as a run of the command does."""
        options = {"enrow_api_key": self.api.api_key, "enrow_base_url": self.api.url} | options
        return submit(people, pipeline=self.pipeline("enrow_submissions"), max_credits=max_credits, **options)

    def load(self, *batch_ids: str, **options: Any) -> None:
        """Run the source."""
        options = {"enrow_api_key": self.api.api_key, "enrow_base_url": self.api.url} | options
        run(batch_ids, pipeline=self.pipeline(), **options)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Query the dataset; tables are named `{table}`."""
        with self.pipeline("reading").sql_client() as client:
            names = _Names(client.make_qualified_table_name)
            return [tuple(row) for row in client.execute_sql(statement.format_map(names)) or ()]

    def states(self) -> list[str]:
        """States of all submissions, the oldest first."""
        return [state for (state,) in self.sql("SELECT state FROM {submissions} ORDER BY created_at")]

    def tables(self) -> set[str]:
        """Names of the tables of the dataset."""
        found = self.sql(f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{self.dataset}'")
        return {name for (name,) in found}


class _Names(dict[str, str]):
    def __init__(self, qualify: Callable[[str], str]) -> None:
        super().__init__()
        self._qualify = qualify

    def __missing__(self, table: str) -> str:
        return self._qualify(table)


@pytest.fixture
def duck(api: SimulatedEnrow, tmp_path: Path) -> Iterator[Place]:
    """A DuckDB file, which is kept open: dlt connects to it a dozen times in a run, and each is quicker then."""
    file = str(tmp_path / "warehouse.duckdb")
    with duckdb.connect(file):
        yield Place(api, tmp_path, dlt.destinations.duckdb(file), "enrow_data")


@pytest.fixture(params=["duckdb", "postgres"])
def place(request: pytest.FixtureRequest, api: SimulatedEnrow, tmp_path: Path) -> Iterator[Place]:
    """A DuckDB file, then a dataset of its own in a real Postgres."""
    if request.param == "duckdb":
        yield request.getfixturevalue("duck")
        return
    server: Postgres = request.getfixturevalue("postgres")
    dataset = f"submit_{uuid.uuid4().hex[:8]}"
    yield Place(api, tmp_path, dlt.destinations.postgres(server.url), dataset)
    for name in (dataset, f"{dataset}_staging"):
        server.query(f"DROP SCHEMA IF EXISTS {name} CASCADE")
