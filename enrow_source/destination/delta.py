"""Delta tables, which is what is loaded into files: how they are declared, opened and changed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from ..errors import ConfigurationError
from ..lazy import pa
from ..tables.schema import PHONE_RESULTS

if TYPE_CHECKING:
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

    from .session import Session


def check_deltalake() -> None:
    """Raise ConfigurationError without the package that writes Delta tables: dlt asks for it when it loads."""
    if find_spec("deltalake") is None:
        raise ConfigurationError(
            "files are loaded as Delta tables, which takes deltalake: pip install 'enrow-source[deltalake]'"
        )


def use_delta_tables_on_filesystem(session: Session) -> None:
    """Make Delta tables of all that is loaded into files; raises ConfigurationError where that cannot be.

    Parquet files alone can only grow: a batch that is fetched twice would be there twice.
    """
    if not session.is_filesystem:
        return
    for name, resource in session.resources.items():
        table_format = resource.compute_table_schema().get("table_format")
        if table_format not in (None, "delta"):
            raise ConfigurationError(f"table_format of {name} is {table_format!r}: leave it out, for delta")
        resource.apply_hints(table_format="delta")
        # dlt knows no merge by batch for Delta tables: what a batch had before is deleted, and what it has is appended.
        if name == PHONE_RESULTS.name and resource.write_disposition == "merge":
            resource.apply_hints(write_disposition="append", merge_key="")
    check_deltalake()


def open_table(lake: FilesystemClient, schema_name: str, table: str) -> Any:  # noqa: ANN401 - deltalake's, of an extra
    """Open a table of a schema; raises DestinationUndefinedEntity where the lake has none.

    dlt's own `load_open_table` finds tables of the schema of its client alone, which by default is that of the source
    that the pipeline has loaded first.
    """
    from dlt.common.libs.deltalake import DeltaTable, deltalake_storage_options  # type: ignore[attr-defined]  # noqa: PLC0415 - deltalake's own class, of an extra

    options = deltalake_storage_options(lake.config.credentials, lake.config.deltalake_storage_options)
    location = lake.get_open_table_location("delta", table, schema_name=schema_name)
    if not DeltaTable.is_deltatable(location, options):
        raise DestinationUndefinedEntity(table)
    return DeltaTable(location, storage_options=options)


def detach_from_load(table: Any, batch_ids: Sequence[str]) -> None:  # noqa: ANN401 - as above
    """Take the rows of some batches out of their load: they count as loaded no more."""
    matching(table, batch_ids).when_matched_update({"_dlt_load_id": "''"}).execute()


def matching(table: Any, batch_ids: Sequence[str]) -> Any:  # noqa: ANN401 - as above
    """Begin what becomes of the rows of some batches in a Delta table."""
    source = pa.table({"batch_id": pa.array(batch_ids, pa.string())})
    return table.merge(source, predicate="t.batch_id = s.batch_id", source_alias="s", target_alias="t")
