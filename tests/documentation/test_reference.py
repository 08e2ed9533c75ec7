"""The reference is what the code says: its pages are made again and compared; making them runs every query on them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from docs.generate import FAULTS, FOLDER, tables
from docs.generate.loaded import LoadedExample, loaded
from docs.generate.pages import pages
from docs.generate.queries import QUERIES
from enrow_source.tables.schema import TABLES
from tests.support import REPOSITORY

PAGES = REPOSITORY / FOLDER


@pytest.fixture(scope="module")
def warehouse() -> Iterator[LoadedExample]:
    with loaded() as warehouse:
        yield warehouse


def test_the_pages_are_what_the_code_says() -> None:
    kept = {str(file.relative_to(PAGES)): file.read_text(encoding="utf-8") for file in PAGES.rglob("*.md")}
    kept.pop(FAULTS)  # tests/support/faults_page.py holds it
    made = pages()
    changed = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))
    assert not changed, f"rewrite them with `make reference`, and read the change: {', '.join(changed)}"


def test_every_table_and_query_has_its_place(warehouse: LoadedExample) -> None:
    assert set(warehouse.tables) == set(QUERIES)
    assert {table.name for table in TABLES} < set(warehouse.tables)
    for name, queries in QUERIES.items():
        page = (PAGES / "tables" / f"{name}.md").read_text(encoding="utf-8")
        assert len(re.findall(r"^```sql$", page, re.MULTILINE)) == len(queries)


def test_missing_description_is_an_error(warehouse: LoadedExample) -> None:
    """A column or a table without a description is an error."""
    described = warehouse.tables["batches"]
    column = {"name": "new", "data_type": "text"}
    with pytest.raises(ValueError, match=r"batches\.new has no description"):
        tables.page({**described, "columns": {**described["columns"], "new": column}}, warehouse)
    with pytest.raises(ValueError, match="table batches has no description"):
        tables.page({**described, "description": ""}, warehouse)


def test_a_table_without_queries_is_an_error(warehouse: LoadedExample) -> None:
    with pytest.raises(ValueError, match="no example query for the table batches_of_old"):
        tables.page({**warehouse.tables["batches"], "name": "batches_of_old"}, warehouse)


def test_the_diagram_joins_every_table_to_its_batch(warehouse: LoadedExample) -> None:
    overview = tables.overview(warehouse)
    joined = re.findall(r"^ +batches (\S+) (\w+) :", overview, re.MULTILINE)
    by_batch = {name for name, table in warehouse.tables.items() if "batch_id" in table["columns"]}
    assert {name for _, name in joined} == by_batch - {"batches"}
    assert ("||--|{", "phone_results") in joined
    assert ("||--||", "batch_stats") in joined
