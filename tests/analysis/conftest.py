"""Fixtures of the tests of the dbt package."""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import psycopg2  # type: ignore[import-untyped] # it has no types
import pytest

from tests.analysis.built import ENVIRONMENT, LOCK, PACKAGE, STAMP, BuiltModels, Dbt, Row, blocks, load, made
from tests.support.postgres import Postgres
from tests.support.uv import uv
from tests.support.wheel import InstalledWith


@pytest.fixture(scope="session")
def environment() -> Path:
    """Make the environment unless there is one from this very lock; return its folder of commands."""
    with LOCK.open(encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run of the tests may be about to make it as well
        wanted = lock.read()
        if not STAMP.is_file() or STAMP.read_text(encoding="utf-8") != wanted:
            python = str(ENVIRONMENT / "bin" / "python")
            uv("venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT))
            uv("pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(LOCK))
            STAMP.write_text(wanted, encoding="utf-8")
    return ENVIRONMENT / "bin"


@pytest.fixture(scope="session")
def on_duckdb(
    environment: Path, installed_with: InstalledWith, tmp_path_factory: pytest.TempPathFactory
) -> BuiltModels:
    """Build in the package's own folder, as `make dbt` does, on the file that the installed command wrote."""
    folder = tmp_path_factory.mktemp("duckdb")
    loaded = load(installed_with(""), folder)
    file = folder / "warehouse.duckdb"
    dbt = Dbt(environment, PACKAGE, folder, ENROW_WAREHOUSE=str(file))
    dbt("build")

    def connect() -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(file), read_only=True).execute("USE enrow")

    def query(statement: str) -> list[Row]:
        with connect() as connection:
            return connection.execute(statement).fetchall()

    return BuiltModels(dbt, query, connect, "campaign", 40, loaded)


@pytest.fixture(scope="session")
def crm_project(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package from a git repository's sub-directory, as the README says, into a project with other vars."""
    folder = tmp_path_factory.mktemp("installed")
    repository, project = folder / "repository", folder / "project"
    shutil.copytree(PACKAGE, repository / "dbt", ignore=shutil.ignore_patterns("target", "logs", "dbt_packages"))
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@enrow.example", "-c", "commit.gpgsign=false")
    for arguments in (("init", "--quiet", "--initial-branch", "main"), ("add", "."), ("commit", "--quiet", "-m", "A")):
        made(*git, *arguments, cwd=repository)
    project.mkdir()
    snippet, _ = blocks("yaml")
    address = "https://git.example/enrow_source.git"
    assert address in snippet
    (project / "packages.yml").write_text(snippet.replace(address, str(repository)), encoding="utf-8")
    variables = {"enrow_schema": "crm_phones", "enrow_campaign_key": "label", "enrow_credits_per_found": 50}
    # JSON is YAML too.
    settings = {"name": "crm", "version": "1.0.0", "config-version": 2, "profile": "crm", "vars": {"enrow": variables}}
    (project / "dbt_project.yml").write_text(json.dumps(settings), encoding="utf-8")
    (project / "profiles.yml").write_text(json.dumps({"crm": {"target": "none", "outputs": {"none": {}}}}))
    Dbt(environment, project, folder)("deps")
    return project


@pytest.fixture(scope="session")
def on_postgres(
    environment: Path,
    installed_with: InstalledWith,
    crm_project: Path,
    postgres: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> BuiltModels:
    """Build as an installed package, on another dataset and with other vars."""
    folder = tmp_path_factory.mktemp("postgres")
    arguments = ("--destination", "postgres", "--dataset", "crm_phones")
    loaded = load(installed_with("postgres"), folder, *arguments, DESTINATION__POSTGRES__CREDENTIALS=postgres.url)
    socket = postgres.url.split("host=")[1]
    target = {"type": "postgres", "host": socket, "port": 5432, "user": "postgres", "password": "x"}
    target |= {"dbname": "postgres", "schema": "crm_models", "threads": 2}
    profile = {"crm": {"target": "postgres", "outputs": {"postgres": target}}}
    (folder / "profiles.yml").write_text(json.dumps(profile), encoding="utf-8")
    dbt = Dbt(environment, crm_project, folder, DBT_PROFILES_DIR=str(folder))
    dbt("build")

    def connect() -> Any:
        return psycopg2.connect(postgres.url, options="-c search_path=crm_models")

    def query(statement: str) -> list[Row]:
        with closing(connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    return BuiltModels(dbt, query, connect, "label", 50, loaded)


@pytest.fixture(params=["on_duckdb", "on_postgres"])
def built(request: pytest.FixtureRequest) -> BuiltModels:
    warehouse: BuiltModels = request.getfixturevalue(request.param)
    return warehouse
