"""The backfill as it is, and prints how many statements it sent to the warehouse (not those on the lake)."""

from __future__ import annotations

import sys
from typing import Any

from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from enrow_source.cli import backfill


def main() -> int:
    """Run the command, and count."""
    statements = 0
    execute_query = DuckDbSqlClient.execute_query

    def counted(client: DuckDbSqlClient, query: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as wrapped
        nonlocal statements
        statements += type(client) is DuckDbSqlClient
        return execute_query(client, query, *args, **kwargs)

    DuckDbSqlClient.execute_query = counted  # type: ignore[assignment,method-assign]
    code = backfill.main(sys.argv[1:])
    sys.stdout.write(f"{statements}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
