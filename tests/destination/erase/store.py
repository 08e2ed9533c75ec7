"""Warehouses that hold two batches with one person in both."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from enrow_source import enrow_source
from enrow_source.destination.erase import _TABLES
from enrow_source.destination.suppressions import ERASURES
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.tables.privacy import Privacy
from tests.support.postgres import Postgres

SECRET = "recognisable-secret-91ab"
NAME = "recognisabella-nobody"
URL = f"https://www.linkedin.example/in/{NAME}"
NUMBER = "+14155550123"
OTHER_URL = "https://www.linkedin.example/in/somebody-else"
OTHER_NUMBER = "+14155550199"


Searched = tuple[str, str | None]


PERSON: Searched = (URL, NUMBER)
OTHER: Searched = (OTHER_URL, OTHER_NUMBER)
NOT_FOUND: Searched = ("https://www.linkedin.example/in/not-found", None)


def batch(batch_id: str, *people: Searched) -> dict[str, Any]:
    found = sum(number is not None for _, number in people)
    return {
        "general": {"id": batch_id, "status": "completed"},
        "stats": {"requested": len(people), "found": found, "credits_cost": 40 * found, "credits_to_refund": 0},
        "results": [
            {
                "index": index,
                "qualification": "found" if number else "not_found",
                "number": number,
                "country": "US" if number else None,
                "params": {"linkedin_url": url},
            }
            for index, (url, number) in enumerate(people)
        ],
    }


@dataclass(frozen=True)
class Store:
    """A destination and a dataset of its own in it."""

    destination: str
    dataset: str
    query: Callable[[str], list[tuple[Any, ...]]]
    folder: Path

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("--destination", self.destination, "--dataset", self.dataset)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.query(re.sub(r"\b(FROM|UPDATE|TABLE) (\w+)", rf"\1 {self.dataset}.\2", statement))

    def people(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT batch_id, params__linkedin_url, number FROM phone_results ORDER BY batch_id, index")

    def loaded(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT batch_id, results_loaded FROM phone_results_ledger ORDER BY 1")

    def recorded(self) -> list[tuple[Any, ...]]:
        counts = ", ".join(f"{table}_rows" for table in _TABLES)
        return self.sql(
            f"SELECT subject, subject_hash, batch_id, {counts} FROM {ERASURES}"
            " WHERE subject <> 'person' ORDER BY erased_at"
        )

    def dump(self) -> str:
        """Return everything in every table of the dataset and of its staging dataset."""
        tables = self.query(
            "SELECT table_schema, table_name FROM information_schema.tables"
            f" WHERE table_schema LIKE '{self.dataset}%' ORDER BY 1, 2"
        )
        return "\n".join(
            f"{schema}.{table} {sorted(map(repr, self.query(f'SELECT * FROM {schema}.{table}')))}"
            for schema, table in tables
        )

    def pipeline(self, container: str = "first") -> dlt.Pipeline:
        return build_pipeline(self.destination, self.dataset, pipelines_dir=str(self.folder / container))


_number = count()


# One destination is enough where it makes no difference.
in_duckdb = pytest.mark.parametrize("store", ["duckdb"], indirect=True)
in_postgres = pytest.mark.parametrize("store", ["postgres"], indirect=True)
# Postgres is slow where it runs the same code of ours, and this is what it has of its own: transactions, staging.
in_both = pytest.mark.parametrize("store", ["duckdb", "postgres"], indirect=True)


def duckdb_store(folder: Path) -> Store:
    def query(statement: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
            return connection.execute(statement).fetchall()

    return Store("duckdb", "enrow_data", query, folder)


def postgres_store(postgres: Postgres, folder: Path) -> Store:
    def query(statement: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in postgres.query(statement)]

    return Store("postgres", f"erasure_{next(_number)}", query, folder)


def load(store: Store, *batch_ids: str, container: str = "first", refresh: Any = None, **options: Any) -> None:
    store.pipeline(container).run(enrow_source(batch_ids, **options), refresh=refresh)


def hashed(value: str) -> str:
    return Privacy(secret=SECRET).keyed_hash(value)


def environment(folder: Path) -> dict[str, str]:
    kept = ("PATH", "SOURCES__", "DESTINATION__", "RUNTIME__", "ENROW_")
    return {name: value for name, value in os.environ.items() if name.startswith(kept)} | {
        "DLT_DATA_DIR": str(folder / "dlt")
    }
