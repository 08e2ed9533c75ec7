"""Creates declared tables without a load, under a schema of their own: no `refresh` of the source drops them."""

from __future__ import annotations

from collections.abc import Iterable

import dlt
from dlt.common.configuration.container import Container
from dlt.common.schema.utils import new_table
from dlt.destinations.job_client_impl import SqlJobClientBase

from ..tables.schema import Table
from .comments import comment_changed


def create_tables(kind: str, client: SqlJobClientBase, schema_name: str, tables: Iterable[Table]) -> None:
    """Create the tables, or add the columns that they lack, and comment what has changed.

    They get no columns of dlt's, which an INSERT would have to fill. `kind` is dlt's name for the destination, whose
    `client` is connected; `schema_name` is theirs in `_dlt_version`. Raises DestinationException where it refuses.
    """
    with Container().injectable_context(client.capabilities):  # it says how names are normalized
        schema = dlt.Schema(schema_name)
        for table in tables:
            columns = [column.hints for column in table.columns]
            declared = new_table(table.name, write_disposition="append", columns=columns)
            schema.update_table({**declared, "description": table.description})
        schema = dlt.Schema.from_stored_schema(schema.to_dict())  # dlt takes no schema that has changed since
    creating = type(client)(schema, client.config, client.capabilities)  # type: ignore[arg-type] # as dlt itself does
    creating.sql_client = client.sql_client
    creating.initialize_storage()
    # By force: dlt would not compare a schema that it has stored, and somebody may have altered or dropped a table.
    changed = creating.update_stored_schema(force=True) or {}
    own = {name: schema.tables[name] for name in changed if name not in schema.dlt_table_names()}
    comment_changed(kind, client.sql_client, own)
