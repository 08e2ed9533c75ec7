"""Every column of every model is described, and personal data is marked."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from enrow_source.tables.schema import TABLES
from tests.analysis.built import MARTS, OPTIONAL, PACKAGE, README, SOURCES, STAGING, Body, BuiltModels
from tests.support import REPOSITORY

pytest_plugins = ("tests.support.postgres", "tests.support.wheel")

pytestmark = pytest.mark.timeout(600)  # the first run installs dbt


def undescribed(nodes: Mapping[str, Body], columns: Mapping[str, set[str]]) -> list[str]:
    """Tell which models, and which of their `columns`, have no description, and what is described but not there."""
    found = []
    for name, actual in columns.items():
        described = {column["name"]: column["description"].strip() for column in nodes[name]["columns"].values()}
        found += [f"{name}.{column} has no description" for column in sorted(actual) if not described.get(column)]
        found += [f"{name}.{column} is described, but not there" for column in sorted(described.keys() - actual)]
        found += [] if nodes[name]["description"].strip() else [f"{name} has no description"]
    return found


def test_every_column_of_every_model_is_described(built: BuiltModels) -> None:
    columns: dict[str, set[str]] = {name: set() for name in STAGING | MARTS}
    for table, column in built.query(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema IN ('enrow', 'crm_models')"
    ):
        columns.setdefault(table, set()).add(column)
    manifest = built.dbt.read("manifest.json")
    nodes = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    assert columns.keys() == nodes.keys()
    found = undescribed(nodes, columns)
    assert not found, "\n".join(found)


def test_src_enrow_describes_the_declared_columns(on_duckdb: BuiltModels) -> None:
    sources = {source["name"]: source for source in on_duckdb.dbt.read("manifest.json")["sources"].values()}
    assert sources.keys() == SOURCES
    for table in (*TABLES, *OPTIONAL):
        described = {column["name"]: column["description"] for column in sources[table.name]["columns"].values()}
        assert described == {column.name: column.description for column in table.columns}, table.name
        assert sources[table.name]["description"] == table.description


def test_personal_data_is_marked_down_to_the_marts(on_duckdb: BuiltModels) -> None:
    manifest = on_duckdb.dbt.read("manifest.json")
    marked = {
        (node["name"], column["name"])
        for node in [*manifest["nodes"].values(), *manifest["sources"].values()]
        for column in node["columns"].values()
        if column["config"]["meta"].get("personal_data")
    }
    person = ("linkedin_url", "firstname", "lastname", "company_domain", "company_name")
    expected = {
        (table.name, column.name) for table in (*TABLES, *OPTIONAL) for column in table.columns if column.is_personal
    }
    expected |= {("stg_enrow__batches", "custom"), ("enrow__batches", "custom")}
    for model in ("stg_enrow__phone_results", "enrow__phone_searches"):
        expected |= {(model, name) for name in ("custom", "phone_number", *person)}
    expected |= {("stg_enrow__submitted_searches", name) for name in ("person_key", "custom")}
    expected |= {("enrow__people", name) for name in ("person_key", "phone_number")}
    expected |= {("enrow__phone_searches", "person_key"), ("enrow__duplicate_searches", "person_key")}
    assert marked == expected


def test_the_readme_names_models_and_vars(on_duckdb: BuiltModels) -> None:
    """The README of the dbt package names every model and variable."""
    message = re.findall(r"^\| `(\w+)` \| (.*?) \|", README, re.MULTILINE)
    assert {name for name, _ in message if "__" in name} == MARTS
    assert all(f"`{name}`" in README for name in STAGING)
    project = (PACKAGE / "dbt_project.yml").read_text(encoding="utf-8")
    declared = re.findall(r"^    (enrow_\w+): (.*)$", project, re.MULTILINE)
    assert {(name, value.strip("`")) for name, value in message if "__" not in name} == {
        *declared,
        ("enrow_database", "the target's database"),
    }
    assert on_duckdb.dbt.read("manifest.json")["metadata"]["project_name"] == "enrow"


def test_no_module_looks_like_a_dbt_plugin() -> None:
    """No module has a name that dbt takes for a plugin."""
    # dbt imports every top-level module whose name begins so.
    assert list(REPOSITORY.glob("dbt_*.py")) == []
    assert list((REPOSITORY / "tests").glob("dbt_*.py")) == []
