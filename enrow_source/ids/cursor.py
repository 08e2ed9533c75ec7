"""Cursors: how far each resource of batch ids was read.

https://dlthub.com/docs/general-usage/incremental-loading
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from dlt.extract import DltResource
from dlt.extract.incremental import Incremental
from dlt.pipeline.exceptions import PipelineConfigMissing, PipelineNeverRan

from ..destination.session import is_loading, resource_state, running_pipeline, source_state


class TimeCursor(Incremental[Any]):
    """Where reading got to; the lag is for points in time alone, since a number has no seconds."""

    def bind(self, pipe: Any) -> Incremental[Any]:  # noqa: ANN401 - dlt's own type for it is not public
        """Attach the cursor to its resource."""
        known = resource_state(pipe.name).get("incremental", {}).get(self.cursor_path, {})
        if not isinstance(known.get("last_value"), datetime):
            self.lag = None
        return super().bind(pipe)


def cursor_on(cursor: str, lag_s: float) -> TimeCursor:
    """Make a cursor on a column, which reads again what is younger than `lag_s` before its highest value."""
    # Without a primary key: dlt would keep a hash of everything that has the newest value in its state.
    return TimeCursor(cursor, primary_key=(), on_cursor_value_missing="include", lag=lag_s)


def resource_name(kind: str, *of: str) -> str:
    """Name a resource after what it reads: its cursor is of no use for anything else."""
    digest = hashlib.sha256("\0".join(of).encode()).hexdigest()[:12]
    return f"batch_ids_{kind}_{digest}"


def reset_stale_cursors(
    resources: Iterable[DltResource], tables: Iterable[str], shard: str, *, is_full_refresh: bool
) -> None:
    """Forget how far the resources were read where this run cannot use it, so that they are read as a whole.

    A cursor is stale where the tables are emptied, where a table is selected that was not when it moved, or where the
    shard or the destination is another one: what was read is then not what is there.
    """
    resources = list(resources)
    if not resources:
        return
    state = source_state()
    target = hashlib.sha256(f"{_destination_identity()}\0{shard}".encode()).hexdigest()[:12]
    wanted = set(tables)
    read_for = state.get(_READ_FOR, {})
    if is_full_refresh or not wanted or read_for.get("target") != target or not wanted <= set(read_for["tables"]):
        known = state.get("resources", {})
        for name in [pipe.name for resource in resources for pipe in _pipes(resource)]:
            known.pop(name, None)
    state[_READ_FOR] = {"target": target, "tables": sorted(wanted)}


def save_cursors() -> Callable[[], None]:
    """Return what puts the cursors back to where they are now: for ids that were read and cannot be used."""
    if not is_loading():
        return lambda: None
    state = source_state()
    saved = copy.deepcopy(dict(state))

    def restore() -> None:
        state.clear()
        state.update(saved)

    return restore


_READ_FOR: Final = "batch_ids_read_for"
"""In the state of the source: what the ids were read for, whose number does not matter."""


def _pipes(resource: DltResource) -> Iterator[Any]:
    pipe = resource._pipe  # noqa: SLF001 - dlt has no public way to the resource that a transformer reads
    while pipe is not None:
        yield pipe
        pipe = pipe.parent


def _destination_identity() -> str:
    try:
        pipeline = running_pipeline()
        with pipeline.destination_client() as client:
            return f"{client.config} {pipeline.dataset_name}"
    except (PipelineNeverRan, PipelineConfigMissing):
        return ""  # iterated outside a pipeline, or before it has a destination: nothing is loaded
