"""The newest load that the destination has as complete."""

from __future__ import annotations

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from .session import sql_client_of


def newest_load(pipeline: dlt.Pipeline) -> str:
    """Return the id of the newest complete load of the pipeline's schemas; empty where there is none.

    Ids of loads are times, so that they have an order.
    """
    names = pipeline.schema_names
    if not names:
        return ""
    with sql_client_of(pipeline, names[0]) as client:
        naming, table = pipeline.schemas[names[0]].naming, pipeline.schemas[names[0]].loads_table_name
        load_id, schema_name, status = (
            client.escape_column_name(naming.normalize_identifier(name))
            for name in ("load_id", "schema_name", "status")
        )
        try:
            rows = client.execute_sql(
                f"SELECT MAX({load_id}) FROM {client.make_qualified_table_name(table)}"  # noqa: S608 - escaped names
                f" WHERE {status} = 0 AND {schema_name} IN ({', '.join(['%s'] * len(names))})",
                *names,
            )
        except DestinationUndefinedEntity:
            return ""
    return str(rows[0][0] or "") if rows else ""
