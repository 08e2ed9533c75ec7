"""Cursors: how far each resource of batch ids was read.

https://dlthub.com/docs/general-usage/incremental-loading
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Self

from dlt.common import logger
from dlt.extract import DltResource
from dlt.extract.incremental import Incremental

from ..destination.confirm import Confirmed, read_confirmed
from ..destination.packages import MARK
from ..destination.session import Session, is_loading, package_state, resource_state, source_state
from ..tables.schema import LEDGER_TABLES


class TimeCursor(Incremental[Any]):
    """Where reading got to; the lag is for points in time and days alone, since a number has no seconds."""

    def bind(self, pipe: Any) -> Incremental[Any]:  # noqa: ANN401 - dlt's own type for it is not public
        """Attach the cursor to its resource."""
        known = resource_state(pipe.name).get("incremental", {}).get(self.cursor_path, {})
        mark, lag_s = known.get("last_value"), self.lag or 0
        if is_far_ahead(mark) or (isinstance(mark, date) and _ahead(mark) > timedelta(seconds=lag_s)):
            logger.warning(
                f"the ids of {pipe.name} were read up to {mark}, which is ahead of the clock of this run:"
                " what came since may have been passed over, so all of it is read again"
            )
            known.clear()
        elif not isinstance(mark, date):
            self.lag = None
        elif not isinstance(mark, datetime):
            self.lag = math.ceil(lag_s / timedelta(days=1).total_seconds())  # dlt counts in days here
        return super().bind(pipe)


def cursor_on(cursor: str, lag_s: float) -> TimeCursor:
    """Make a cursor on a column, which reads again what is younger than `lag_s` before its highest value."""
    # Without a primary key: dlt would keep a hash of everything that has the newest value in its state.
    return TimeCursor(cursor, primary_key=(), on_cursor_value_missing="include", lag=lag_s)


def not_ahead(value: Any) -> Any:  # noqa: ANN401 - a value of any column
    """Return the value; of a time ahead of the run's clock, that clock: a mark there would pass over ids.

    Of a time as text None, with which a row is read and moves no mark: nobody knows how the clock would be written.
    """
    if isinstance(value, str):
        return None if is_far_ahead(value) else value
    return _now_like(value) if isinstance(value, date) and _ahead(value) > timedelta() else value


def is_far_ahead(value: object) -> bool:
    """Whether a time, also as text, is further ahead of the clock than clocks differ, and zones, where it has none."""
    value = _time_of(value) if isinstance(value, str) else value
    has_zone = isinstance(value, datetime) and value.tzinfo is not None
    return isinstance(value, date) and _ahead(value) > timedelta(hours=1 if has_zone else 24)


def _time_of(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None


def _ahead(value: date) -> timedelta:
    ahead: timedelta = value - _now_like(value)
    return ahead


def _now_like(value: date) -> Any:  # noqa: ANN401 - of the type of the value
    """Return the time in the type of the value; one without a time zone is taken for UTC."""
    now = datetime.now(UTC)
    if not isinstance(value, datetime):
        return now.date()
    return now if value.tzinfo else now.replace(tzinfo=None)


def resource_name(kind: str, *of: str) -> str:
    """Name a resource after what it reads: its cursor is of no use for anything else."""
    digest = hashlib.sha256("\0".join(of).encode()).hexdigest()[:12]
    return f"batch_ids_{kind}_{digest}"


class Cursors:
    """The cursors of the resources of one run, each tied to the load that moved it last.

    Args:
        session: The running extraction.
        resources: The resources of batch ids.
        shard: The part of the ids that the run fetches.
    """

    def __init__(self, session: Session, resources: Iterable[DltResource], shard: str) -> None:
        self._session = session
        self._names = [pipe.name for resource in resources for pipe in _pipes(resource)]
        self._tables = [name for name in LEDGER_TABLES if name in session.resources]
        self._target = ""
        if self._names and session.pipeline is not None:
            target = package_state()[MARK]["target"]
            self._target = hashlib.sha256(f"{target}\0{shard}".encode()).hexdigest()[:12]
        self._confirmed = Confirmed()
        self._before: Mapping[str, Any] = {}

    def reset_stale(self, *, is_full_refresh: bool) -> Self:
        """Forget how far the resources were read where this run cannot use it, so that they are read as a whole.

        A cursor is stale where the tables are emptied, where a table is selected that was not when it moved, where the
        shard or the destination is another one, and where the destination does not have the load that moved it, or
        has lost rows or a table since.
        """
        if not self._names:
            return self
        states = source_state().setdefault("resources", {})
        ties = {name: states[name].get(_READ_FOR, {}) for name in self._names if name in states}
        if any(ties.values()):
            loads = {tie["load_id"] for tie in ties.values() if tie}
            self._confirmed = read_confirmed(self._session, self._tables, sorted(loads))
        for name, tie in ties.items():
            if is_full_refresh or not self._is_confirmed(tie):
                del states[name]
        self._before = copy.deepcopy({name: states.get(name) for name in self._names})
        return self

    def _is_confirmed(self, tie: Mapping[str, Any]) -> bool:
        if not tie or tie["target"] != self._target or not self._tables or not set(self._tables) <= set(tie["tables"]):
            return False
        if not self._confirmed.has(tie["load_id"]):
            return False
        newest = self._confirmed.newest
        for resource in self._tables:
            rows_of = newest.get(LEDGER_TABLES[resource])
            if tie["tables"][resource] is not None and (rows_of is None or rows_of < tie["tables"][resource]):
                return False
        return True

    def tie(self, *, wrote_rows: bool) -> None:
        """Tie the cursors that have moved to this load.

        Args:
            wrote_rows: Whether the load has rows for each ledger table.
        """
        if not self._names:
            return
        load_id, newest = self._session.load_id, self._confirmed.newest
        tables = {name: load_id if wrote_rows else newest.get(LEDGER_TABLES[name]) for name in self._tables}
        states = source_state().get("resources", {})
        for name in self._names:
            if states.get(name) and states[name] != self._before.get(name):
                states[name][_READ_FOR] = {"target": self._target, "tables": tables, "load_id": load_id}


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
"""In the state of a resource: what its cursor was moved for, and by which load."""


def _pipes(resource: DltResource) -> Iterator[Any]:
    pipe = resource._pipe  # noqa: SLF001 - dlt has no public way to the resource that a transformer reads
    while pipe is not None:
        yield pipe
        pipe = pipe.parent
