"""The running extraction, as dlt knows it: the only module that reads `dlt.current`.

https://dlthub.com/docs/general-usage/resource#access-pipeline-source-and-resource-from-within
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, cast

import dlt
from dlt.common.configuration.container import Container
from dlt.common.destination.client import WithStateSync
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.pipeline import PipelineContext
from dlt.common.schema import Schema
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.common.storages.load_package import commit_load_package_state

from .delta import open_table

if TYPE_CHECKING:
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
    from dlt.destinations.impl.filesystem.sql_client import FilesystemSqlClient
    from dlt.destinations.sql_client import SqlClientBase
    from dlt.extract import DltResource

FILESYSTEM: Final = "dlt.destinations.filesystem"
BIGQUERY: Final = "dlt.destinations.bigquery"
DUCKDB: Final = "dlt.destinations.duckdb"
POSTGRES: Final = "dlt.destinations.postgres"
SNOWFLAKE: Final = "dlt.destinations.snowflake"


@dataclass(frozen=True, slots=True)
class Session:
    """One extraction; outside a pipeline it has no load and no destination."""

    schema: Schema
    resources: Mapping[str, DltResource]
    """The selected resources by name."""
    load_id: str = ""
    """The load that brings the rows; it joins `_dlt_loads`. Empty outside a pipeline."""
    is_refresh: bool = False
    """Whether dlt drops tables or data when the load starts, after the ledger was read."""
    pipeline: dlt.Pipeline | None = None
    """The running pipeline; None outside a pipeline."""
    _clients: list[SqlClientBase[Any]] = field(default_factory=list, repr=False, compare=False)
    _open: list[SqlClientBase[Any]] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def current(cls) -> Self:
        """Return the session of the running source."""
        schema, resources = dlt.current.source_schema(), selected_resources()
        try:
            package = dlt.current.load_package_state()
        except CurrentLoadPackageStateNotAvailable:
            return cls(schema, resources)
        pipeline = running_pipeline()
        return cls(schema, resources, package["load_id"], bool(package["state"].get("refresh")), pipeline)

    @property
    def destination_type(self) -> str | None:
        """Dlt's name for the kind of destination; None where there is none."""
        if self.pipeline is None or self.pipeline.destination is None:
            return None
        return str(self.pipeline.destination.destination_type)

    @property
    def is_filesystem(self) -> bool:
        """Whether tables are files of a folder or bucket."""
        return self.destination_type == FILESYSTEM

    @property
    def is_case_sensitive(self) -> bool:
        """Whether columns whose names differ in case alone are two at the destination."""
        if self.destination_type in (FILESYSTEM, BIGQUERY):
            return False  # they tell tables apart by their case, and columns not
        if self.pipeline is None or self.pipeline.destination is None:
            return True
        known = self._clients[0].capabilities if self._clients else self.pipeline.destination.capabilities()
        return bool(known.has_case_sensitive_identifiers)

    def keeps_rows(self, resource: str) -> bool:
        """Whether this load leaves the rows of a resource that earlier loads brought."""
        return not self.is_refresh and self.resources[resource].write_disposition != "replace"

    def is_unchanged(self, resource: str) -> bool:
        """Whether a resource is selected, and its rows reach the load as the source makes them.

        A map or a filter that the caller adds, and a contract that keeps columns or rows out, have to see the rows.
        """
        if resource not in self.resources or len(self.resources[resource]._pipe) > 1:  # noqa: SLF001 - dlt has no other way
            return False
        table = self.resources[resource].compute_table_schema()
        return set(self.schema.resolve_contract_settings_for_table(resource, table).values()) == {"evolve"}

    @contextmanager
    def sql_client(self) -> Iterator[SqlClientBase[Any]]:
        """Open the destination's SQL client, or the connection that is open; raises SqlClientNotAvailable.

        dlt resolves the whole configuration of the destination for each client, so there is one for the session.
        """
        if self._open:
            yield self._open[0]
            return
        pipeline = cast("dlt.Pipeline", self.pipeline)
        if not self._clients:
            self._clients.append(sql_client_of(pipeline, self.schema.name))
        with self._clients[0] as client:
            self._open.append(client)
            try:
                yield client
            finally:
                self._open.clear()

    @contextmanager
    def lake(self) -> Iterator[FilesystemClient]:
        """Open the client of a lake."""
        with cast("dlt.Pipeline", self.pipeline).destination_client() as client:
            yield cast("FilesystemClient", client)

    def connection(self) -> AbstractContextManager[object]:
        """Hold one connection for several reads, where that saves one: a lake has none."""
        return self.sql_client() if self.destination_type in (DUCKDB, POSTGRES) else nullcontext()


def sql_client_of(pipeline: dlt.Pipeline, schema_name: str) -> SqlClientBase[Any]:
    """Return a SQL client for the tables of a schema, also in a pipeline that has never run; raises as `sql_client`."""
    schema = pipeline.schemas[schema_name].clone() if schema_name in pipeline.schemas else None
    client = pipeline.sql_client(**({"schema_name": schema_name} if schema is not None else {}))
    if pipeline.destination.destination_type == FILESYSTEM:
        lake = cast("FilesystemSqlClient", client)
        lake.set_schemas([_as_in_lake(lake.remote_client, schema or _stored_schema(pipeline, schema_name))])
    return client


def _stored_schema(pipeline: dlt.Pipeline, name: str) -> Schema:
    """Return the schema as a lake has it: dlt reads there only tables of schemas that it knows."""
    with pipeline.destination_client() as client:
        stored = client.get_stored_schema(name) if isinstance(client, WithStateSync) else None
    # With one of no tables where nothing was loaded yet.
    return Schema.from_stored_schema(json.loads(stored.schema)) if stored is not None else Schema(name)


def _as_in_lake(lake: FilesystemClient, schema: Schema) -> Schema:
    """Leave out the columns that Delta tables do not have, as after a killed load or a restore.

    dlt names all columns of its schema whatever is selected, so every later run would fail.
    """
    for name in schema.data_table_names(seen_data_only=True):
        try:
            found = {field.name for field in open_table(lake, schema.name, name).schema().fields}
        except DestinationUndefinedEntity:
            continue
        columns = schema.tables[name]["columns"]
        for column in columns.keys() - found:
            del columns[column]
    return schema


def is_loading() -> bool:
    """Whether the source runs in a pipeline, and not just in a loop of its caller."""
    try:
        dlt.current.load_package_state()
    except CurrentLoadPackageStateNotAvailable:
        return False
    return True


def package_state() -> dict[str, Any]:
    """Return the state of the running load package, which dlt writes down when the step ends."""
    return cast("dict[str, Any]", dlt.current.load_package_state()["state"])


def commit_package_state() -> None:
    """Write the state of the running load package down now."""
    commit_load_package_state()


def running_load_id() -> str:
    """Return the id of the running load."""
    return str(dlt.current.load_package_state()["load_id"])


def active_pipeline() -> dlt.Pipeline | None:
    """Return the pipeline that was made last in this process, whether it runs or not."""
    context = Container()[PipelineContext]
    return cast("dlt.Pipeline", context.pipeline()) if context.is_active() else None


def running_pipeline() -> dlt.Pipeline:
    """Return the running pipeline; `dlt.current.pipeline()` resolves a configuration first, each time."""
    return cast("dlt.Pipeline", Container()[PipelineContext].pipeline())


def selected_resources() -> Mapping[str, DltResource]:
    """Return the selected resources of the running source by name."""
    return dlt.current.source().resources.selected


def source_state() -> dict[str, Any]:
    """Return the state of the source, which dlt commits with the load."""
    return dlt.current.source_state()


def resource_state(resource: str) -> dict[str, Any]:
    """Return the state of one resource, which dlt commits with the load."""
    return dlt.current.resource_state(resource)


def add_metrics(metrics: Mapping[str, Any]) -> None:
    """Add to the metrics of the running resource; dlt keeps only those of selected resources."""
    dlt.current.resource_metrics().update(metrics)


def steps_of(resource: str) -> list[Any]:
    """Return what a caller has added to a resource of the running source: maps, filters, limits."""
    return list(dlt.current.source().resources[resource]._pipe.steps[1:])  # noqa: SLF001 - dlt has no other way


def settings_folder() -> str:
    """Return the folder that dlt reads `config.toml` and `secrets.toml` from; also sets up dlt's log."""
    return str(dlt.current.run_context().settings_dir)
