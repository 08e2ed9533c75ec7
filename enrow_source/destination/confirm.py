"""What the destination confirms of earlier loads, in one statement: what was read for them is there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from ..tables.schema import DEFERRED_BATCH_IDS, LEDGER_TABLES, PHONE_RESULTS
from .session import Session
from .sql import parameters


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What the destination has."""

    loads: frozenset[str] = frozenset()
    """Those of the loads that were asked for that are complete."""
    oldest: str | None = None
    """The oldest load that `_dlt_loads` has; loads before it are unknown."""
    newest: Mapping[str, str | None] = field(default_factory=dict)
    """The newest load that each ledger table has rows of; None for an empty table. A table that is gone is missing."""

    def has(self, load_id: str) -> bool:
        """Whether the load was completed."""
        return load_id in self.loads or (self.oldest is not None and load_id < self.oldest)


def read_confirmed(session: Session, resources: Sequence[str], load_ids: Collection[str]) -> Confirmed:
    """Ask for loads and for the tables of resources; nothing where a table is gone."""
    if session.destination_type is None:
        return Confirmed()
    naming, loads = session.schema.naming, session.schema.loads_table_name
    with session.sql_client() as client:
        column, table = client.escape_column_name, client.make_qualified_table_name
        of_load, status, of_schema = (
            column(naming.normalize_identifier(name)) for name in ("load_id", "status", "schema_name")
        )
        parts = [
            f"SELECT '{name}' AS name, MAX({column('_dlt_load_id')}) AS load_id FROM {table(name)}"  # noqa: S608 - names
            for name in map(LEDGER_TABLES.__getitem__, resources)
        ]
        exist = [PHONE_RESULTS.name] if PHONE_RESULTS.name in resources else []
        if DEFERRED_BATCH_IDS.name in session.schema.tables:
            exist.append(DEFERRED_BATCH_IDS.name)
        parts += [f"SELECT '', NULL FROM {table(name)} WHERE 1 = 0" for name in exist]  # noqa: S608 - names
        of_source = f"{table(loads)} WHERE {of_schema} = '{session.schema.name}'"
        parts.append(f"SELECT '{_OLDEST}', MIN({of_load}) FROM {of_source}")  # noqa: S608 - names
        asked = parameters(load_ids)
        parts.append(f"SELECT '{_LOADS}', {of_load} FROM {table(loads)} WHERE {status} = 0 AND {of_load} IN ({asked})")  # noqa: S608 - names
        try:
            rows = client.execute_sql(" UNION ALL ".join(parts), *load_ids) or ()
        except DestinationUndefinedEntity:
            return Confirmed()
    newest = {name: load_id for name, load_id in rows if name not in (_OLDEST, _LOADS)}
    oldest = next((load_id for name, load_id in rows if name == _OLDEST), None)
    return Confirmed(frozenset(load_id for name, load_id in rows if name == _LOADS), oldest, newest)


_OLDEST = "oldest"
_LOADS = "loads"
