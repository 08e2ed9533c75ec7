"""As `ours`, and prints how many statements it sent that read the tables which tell what is loaded; never timed."""

from __future__ import annotations

import re
import sys
from typing import Any, Final

from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from . import ours

_LEDGER: Final = re.compile(r'\b(FROM|JOIN)\s+(\S+\.)?"?(batches|batch_stats|phone_results_ledger)\b', re.IGNORECASE)


def main() -> None:
    """Load the batches, and count."""
    statements: list[str] = []
    execute_query = DuckDbSqlClient.execute_query

    def counted(client: DuckDbSqlClient, query: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as wrapped
        statements.append(str(query))
        return execute_query(client, query, *args, **kwargs)

    DuckDbSqlClient.execute_query = counted  # type: ignore[assignment,method-assign]
    ours.load()
    sys.stdout.write(f"{sum(bool(_LEDGER.search(statement)) for statement in statements)}\n")


if __name__ == "__main__":
    main()
