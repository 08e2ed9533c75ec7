"""The staging datasets that merges go through: dlt's default one, and those that a run or a shard had of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from dlt.common import logger

from ..tables.schema import DEFERRED_BATCH_IDS, TABLES

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase

_LOADS = "_dlt_loads"
"""dlt's table of loads, which a dataset has and a staging dataset has not."""


def places(client: SqlClientBase[Any]) -> Iterator[tuple[bool, AbstractContextManager[Any]]]:
    """Yield the dataset and its staging datasets: whether it is one of those, and what switches the client to it."""
    yield False, nullcontext()
    for name in staging_datasets(client):
        yield True, client.with_alternative_dataset_name(name)


def staging_datasets(client: SqlClientBase[Any]) -> list[str]:
    """Return the names of the staging datasets of a dataset, the default one first.

    A staging dataset has tables of the source, and no record of loads. It belongs to the dataset whose name its own
    has in it; the longest, where there are several. Where the destination cannot list its tables, only the default one
    is known, and the log says so.
    """
    named = client.capabilities.casefold_identifier
    wanted = [named(table.name) for table in (*TABLES, DEFERRED_BATCH_IDS)]
    sql = (
        "SELECT DISTINCT table_schema, table_name FROM information_schema.tables"  # noqa: S608 - placeholders
        f" WHERE table_name IN ({', '.join(['%s'] * (len(wanted) + 1))})"
    )
    try:
        found = client.execute_sql(sql, *wanted, named(_LOADS)) or ()
    except Exception as error:  # noqa: BLE001 - the drivers of destinations raise what they like
        logger.warning(
            f"staging datasets other than {client.staging_dataset_name} are not searched, since the destination does"
            f" not list its tables: {type(error).__name__}"
        )
        return [client.staging_dataset_name]
    datasets = {schema for schema, table in found if table == named(_LOADS)}
    own = named(client.dataset_name)
    staged = {schema for schema, _ in found} - datasets
    of_this = sorted(name for name in staged if max((d for d in datasets if d in name), key=len, default="") == own)
    default = named(client.staging_dataset_name)
    return [client.staging_dataset_name, *(name for name in of_this if name != default)]
