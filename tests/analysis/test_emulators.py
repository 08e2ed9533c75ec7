"""The dbt package on Snowflake and BigQuery: compiled offline, built on emulators."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import sqlglot

from tests.analysis.built import MARTS, PACKAGE, STAGING, Body, Dbt, made
from tests.destinations.environments import python_of

pytest_plugins = ("tests.support.postgres", "tests.support.wheel")

pytestmark = pytest.mark.timeout(600)  # the first run installs dbt


SNOWFLAKE = {
    "type": "snowflake",
    "account": "example",
    "user": "nobody",
    "password": "x",
    "database": "ANALYTICS",
    "warehouse": "SMALL",
    "schema": "ENROW",
}


NEW_KEY = """
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import rsa
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
print(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode())
"""


def bigquery(environment: Path) -> Body:
    keyfile = {
        "type": "service_account",
        "project_id": "analytics",
        "private_key_id": "none",
        "private_key": made(str(environment / "python"), "-c", NEW_KEY),
        "client_email": "nobody@enrow.example",
        "client_id": "0",
        "token_uri": "https://token.example",
    }
    target = {"type": "bigquery", "method": "service-account-json", "project": "analytics", "dataset": "enrow"}
    return {**target, "keyfile_json": keyfile, "threads": 1}


@pytest.fixture(params=["snowflake", "bigquery"])
def compiled(request: pytest.FixtureRequest, environment: Path, tmp_path: Path) -> tuple[str, dict[str, str]]:
    """Compile without a connection; return the dialect and the statement of each model and test."""
    dialect = request.param
    target = SNOWFLAKE if dialect == "snowflake" else bigquery(environment)
    profile = {"enrow": {"target": dialect, "outputs": {dialect: target}}}
    (tmp_path / "profiles.yml").write_text(json.dumps(profile), encoding="utf-8")
    dbt = Dbt(environment, PACKAGE, tmp_path, DBT_PROFILES_DIR=str(tmp_path))
    variables = json.dumps({"enrow_database": "raw", "enrow_schema": "phones", "enrow_campaign_key": "Ann's key"})
    offline = ("--no-introspect", "--no-populate-cache", "--exclude", "test_type:unit")
    dbt("compile", *offline, "--vars", variables)
    nodes = dbt.read("manifest.json")["nodes"].values()
    return dialect, {node["name"]: node["compiled_code"] for node in nodes if node["resource_type"] != "unit_test"}


def test_it_compiles_offline(compiled: tuple[str, dict[str, str]]) -> None:
    dialect, statements = compiled
    assert statements.keys() >= STAGING | MARTS
    assert len(statements) > 80
    for name, statement in statements.items():
        assert sqlglot.parse_one(statement, dialect=dialect) is not None, name
    batches, results = statements["stg_enrow__batches"], statements["stg_enrow__phone_results"]
    if dialect == "snowflake":
        assert "from raw.phones.batches" in batches
        assert r"get(try_parse_json(custom), 'Ann\'s key')" in batches
        assert '"INDEX" as search_index' in results
    else:
        assert "from `raw`.`phones`.`batches`" in batches
        assert "json_value(custom, '$.\"Ann\\'s key\"')" in batches
        assert "`index` as search_index" in results


@pytest.mark.parametrize("name", ["snowflake", "bigquery"])
def test_it_builds_on_an_emulator(name: str, environment: Path, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1,localhost",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    python, dbt = str(python_of(name)), str(environment / "dbt")
    made(python, "-m", "tests.destinations.models_on_emulator", name, dbt, str(tmp_path), env=env)
    results = json.loads((tmp_path / "target" / "run_results.json").read_text(encoding="utf-8"))["results"]
    assert {result["status"] for result in results} == {"success", "pass"}
    models = {result["unique_id"] for result in results if result["unique_id"].startswith("model.")}
    assert models == {f"model.enrow.{name}" for name in STAGING | MARTS}
