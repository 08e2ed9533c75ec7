"""Checks of what a caller has changed of the resources; a change that loses or doubles rows is refused first."""

from __future__ import annotations

import inspect
from typing import Any

from dlt.extract.items_transform import FilterItem, MapItem, YieldMapItem

from .destination.session import Session, steps_of
from .errors import ConfigurationError
from .tables.schema import TABLES


def check_keys(session: Session) -> None:
    """Raise ConfigurationError where tables or keys are not the source's: dlt deletes by any key that it is given.

    `pipeline.run(source, primary_key=...)` sets another one for all.
    """
    for table in TABLES:
        if table.name not in session.resources:
            continue
        computed = session.resources[table.name].compute_table_schema()
        if computed["name"] != table.name:
            raise ConfigurationError(f"table_name of {table.name} is {computed['name']!r}: leave it out")
        key = [name for name, column in computed["columns"].items() if column.get("primary_key")]
        if set(key) != set(() if table.replaces_batches else table.key):
            raise ConfigurationError(
                f"primary_key of {table.name} is {', '.join(key) or 'empty'}: leave it out, since rows of"
                f" {'a batch are replaced together' if table.replaces_batches else 'another batch would be replaced'}"
            )


def check_steps(session: Session) -> None:
    """Raise ConfigurationError where a function that the caller has added to a resource does not say it takes tables.

    A resource yields Arrow tables, also those of its ledger and of failed fetches: a function that expects rows as
    dicts raises on them, or is never true, and everything is left out.
    """
    for name in session.resources:
        for step in steps_of(name):
            if isinstance(step, MapItem | FilterItem | YieldMapItem) and not _takes_tables(step):
                raise ConfigurationError(
                    f"add_map, add_filter or add_yield_map on {name} gets Arrow tables in place of rows, of {name} and"
                    " of its ledger: choose rows in SQL after the load; or write def f(table: pa.Table), and return"
                    " what has other columns as it is"
                )


def _takes_tables(step: MapItem | FilterItem | YieldMapItem) -> bool:
    """Whether the first parameter of the function of a step is annotated with a table."""
    function: Any = getattr(step, "_f", None) or getattr(step, "_f_meta", None)
    first = next(iter(inspect.signature(function).parameters.values()), None)
    return first is not None and "Table" in str(getattr(first.annotation, "__name__", first.annotation))
