"""`python -m tests.destinations.bqemulator_server PORT`: bqemulator, made to do what BigQuery does with dlt's requests.

It runs in an environment of its own. What is changed here are gaps of the emulator, none of them in dlt or in the
source.
"""

import importlib
import re
import sys
from typing import Any

_ALTERED = re.compile(r"ALTER TABLE `([^`]+)`\.`([^`]+)`\.`([^`]+)`")


def main() -> None:
    """Patch bqemulator and serve until the process is ended."""
    modules = (
        "bqemulator.jobs.executor",
        "bqemulator.scripting.interpreter",
        "bqemulator.catalog.ddl_sync",
        "bqemulator.api.routes.jobs",
    )
    found: list[Any] = [importlib.import_module(name) for name in modules]
    executor, interpreter, catalog, jobs = found

    def load_parquet(path: str, table: str, context: Any) -> None:
        """Match columns by their names; without this they are matched by position."""
        context.engine.execute(f"INSERT INTO {table} BY NAME SELECT * FROM read_parquet(?)", [path])

    def sync(sql: str, project: str, context: Any) -> None:
        """Describe added columns; without this the description of a table stays as it was created."""
        sync_created(sql, project, context)
        if altered := _ALTERED.search(sql):
            described = context.catalog.get_table(*altered.groups())
            schema = catalog._introspect_schema(*altered.groups(), context)
            context.catalog.update_table(described.model_copy(update={"schema_": schema}))

    executor._LOAD_FORMAT_HANDLERS["PARQUET"] = load_parquet
    sync_created = catalog.sync_created_table
    executor.sync_created_table = interpreter.sync_created_table = sync

    async def execute_query(project: str, job: str, sql: str, *more: Any, **options: Any) -> Any:
        """End a transaction without ending its session, which it knows no statement for."""
        return await execute(project, job, sql.replace(";CALL BQ.ABORT_SESSION()", ""), *more, **options)

    execute, jobs.execute_query_job = jobs.execute_query_job, execute_query
    # A query that fails is answered with its error; without this the client sees a result without rows.
    jobs._SQL_EXECUTION_DOMAIN_ERRORS = ()
    # It loads this extension of DuckDB, and would download it otherwise.
    importlib.import_module("duckdb_extensions").import_extension("spatial")
    options = [f"--rest-port={sys.argv[1]}", "--grpc-port=0", "--log-level=warning"]
    importlib.import_module("bqemulator.cli").main(["start", *options])


if __name__ == "__main__":
    main()
