"""What happens around a load of this source, also where a user calls `pipeline.run` and not `run()`.

A source runs while dlt extracts. It leaves a guard in the place of the pipeline's progress collector, which dlt calls
when a load begins and when it ends.

- A package is loaded by the process that extracted it, or by nobody: dlt cannot know which jobs of a killed load were
  committed in the last moment, and would do them twice. So a package is marked to be given up, except while this
  process loads it.
- One load at a time: see `load_lock`.
- What the load replaces is deleted when it begins, and not while another run may load it.
- Nothing is loaded that was fetched before somebody was erased.
- What the load appends is merged where another run has loaded some of it since the ledger was read.
- Before its first job a load is written down as begun: rows that it leaves when it is killed have an owner, and do not
  pass for those of a load that was completed before the oldest one in `_dlt_loads`.

https://dlthub.com/docs/general-usage/destination-tables#load-packages-and-load-ids
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any, Final, NamedTuple, Self, cast

import dlt
from dlt.common.destination.client import JobClientBase
from dlt.common.runtime.collector_base import Collector
from dlt.destinations.exceptions import DatabaseException

from ..errors import ConfigurationError, LockLostError, RunError
from . import file_lock
from .load_lock import load_lock
from .load_status import note_begun, note_complete, note_incomplete
from .packages import (
    MARK,
    delete_left,
    folder_lock_file,
    merge_appended,
    normalized_packages,
    refuse_foreign,
    refuse_second_dataset,
    take_folder,
    target_of,
)
from .retried import DONE_TWICE, is_doubled, is_retried
from .session import DUCKDB, POSTGRES, Session, commit_package_state, package_state

_GIVE_UP: Final = "abort_requested"
"""Key in the state of a load package that dlt gives up instead of loading it."""
_LOAD: Final = "Load "
_JOBS: Final = "Jobs"
_STEP: Final = "load"


class Beginning(NamedTuple):
    """What a load does before its first job."""

    schema_name: str
    replace: Callable[[], None] | None = None
    """Deletes rows that the load replaces, and its own rows do not."""
    is_loaded: Callable[[], bool] | None = None
    """Returns whether the destination has rows of what the load appends; None where it appends nothing."""
    refuse: Callable[[], None] | None = None
    """Raises where the load may not begin."""
    is_checked: bool = False
    """Whether `is_loaded` was asked since the lock is held, which raises as `refuse` does."""


class LoadGuard(Collector):
    """The progress collector of a pipeline, and what a load of this source needs besides."""

    def __init__(self, pipeline: dlt.Pipeline) -> None:
        self._pipeline, self._progress = pipeline, pipeline.collector
        self._folder = folder_lock_file(pipeline)
        self._own: dict[str, Beginning] = {}
        """Load packages of this process."""
        self._starting = ""
        """A load before its first job."""
        self._begun = ""
        """A load that is written down as begun."""
        self._place: tuple[Any, str] | None = None
        self._target_name = ""
        """Of the destination and the dataset of `_place`."""
        self._held = ExitStack()
        self._client: JobClientBase | None = None
        """Of the destination, while its lock is held."""
        self._failure: Exception | None = None
        """Why the load cannot begin."""
        self._is_folder_held = False

    @classmethod
    def of(cls, pipeline: dlt.Pipeline) -> Self:
        """Return the guard of a pipeline; puts it there where there is none."""
        if not isinstance(pipeline.collector, cls):
            pipeline.collector = cls(pipeline)
        return pipeline.collector

    def begin(self, session: Session) -> bool:
        """Claim the load package of a running extraction, and the working folder.

        Returns whether packages were given up that an earlier run had left: cursors may have moved on with them.

        Raises:
            BusyError: Another run is at work in the folder.
            ConfigurationError: Another Enrow source has claimed the package; the folder has packages for another
                destination; or the source has a dataset beside that of the pipeline.
        """
        refuse_second_dataset(self._pipeline, session.schema.name)
        state = package_state()
        if state.get(MARK):
            raise ConfigurationError(
                "two Enrow sources in one run would load a batch twice: give all ids to one enrow_source"
            )
        self._take_folder()
        self._place = None  # the configuration may be another one by now
        target = self._target()
        refuse_foreign(self._pipeline, target)
        has_given_up = bool(delete_left(self._pipeline, self._own))
        state[MARK] = {"target": target, "replaces": True, "batches": [], "erasures": []}
        state[_GIVE_UP] = True
        self._own[session.load_id] = Beginning(session.schema.name)
        return has_given_up

    def end(self, session: Session, beginning: Beginning, batch_ids: Iterable[str], erasures: Iterable[str]) -> None:
        """Note that the extraction is complete, what its load does first, its batches, and the erasures before it."""
        replaces = beginning.replace is not None
        package_state()[MARK] |= {"replaces": replaces, "batches": sorted(batch_ids), "erasures": sorted(erasures)}
        self._own[session.load_id] = beginning

    def allow(self, load_id: str, schema_name: str, refuse: Callable[[], None]) -> None:
        """Let this process load a package that was left.

        One of another process has nothing to replace but by a merge, and is not loaded where `refuse` raises. Of its
        own ones, this process knows what is due.
        """
        if load_id not in self._own:
            merge_appended(self._pipeline, load_id)
            self._own[load_id] = Beginning(schema_name, refuse=refuse)

    def disallow(self) -> None:
        """Let no package be loaded that is there now."""
        self._own.clear()

    def update(  # noqa: PLR0913, PLR0917 - as dlt declares it
        self,
        name: str,
        inc: int = 1,
        total: int | None = None,
        inc_total: int | None = None,
        message: str | None = None,
        label: str | None = None,
    ) -> None:
        """Show progress; where a load begins, do what is due."""
        if name == _JOBS and self._starting:
            load_id, self._starting = self._starting, ""
            if total:
                self._begin_load(load_id)
        self._progress.update(name, inc, total, inc_total, message, label)  # type: ignore[arg-type] # dlt's None

    def _prepare_load(self) -> None:
        """Take the lock and search for what others have loaded, before dlt reads the schema of the package."""
        for number, load_id in enumerate(sorted(self._pipeline.list_normalized_load_packages())):
            own = self._own.get(load_id)
            if own is None or own.is_loaded is None:
                continue
            if number == 0:
                self._take_dataset(own.schema_name)
            # What the packages before it load is not there yet.
            if number > 0 or own.is_loaded():
                merge_appended(self._pipeline, load_id)
            self._own[load_id] = own._replace(is_loaded=None, is_checked=number == 0)

    def _begin_load(self, load_id: str) -> None:
        # Taken out in `_start`, or dlt would not load it at all: from here on nobody resumes this load.
        package_state()[_GIVE_UP] = True
        commit_package_state()
        own = self._own.pop(load_id)
        if self._failure is not None:
            raise self._failure
        if own.is_loaded is not None:
            raise AssertionError("unreachable: nobody has searched for what this load appends")
        self._take_dataset(own.schema_name)
        if own.refuse is not None and not own.is_checked:
            own.refuse()
        if own.replace is not None:
            own.replace()
        self._begun = load_id
        with self._connected() as client:
            note_begun(client, load_id)

    def _take_dataset(self, schema_name: str) -> None:
        if self._client is not None:
            return
        client = self._pipeline.destination_client(schema_name)
        self._held.enter_context(load_lock(self._pipeline, client))
        if self._pipeline.destination.destination_type in (DUCKDB, POSTGRES):
            # While one connection is open, others open and close at any time: DuckDB cannot open a file that it closes.
            self._held.enter_context(cast("AbstractContextManager[object]", client))
        self._client = client

    def _let_dataset_go(self) -> None:
        self._client = None
        # With what ends the load, where something does: that is told, and not that the lock went with it.
        self._held.__exit__(*sys.exc_info())

    @contextmanager
    def _connected(self) -> Iterator[JobClientBase]:
        """Give the client of the load, whose connection is open."""
        client = cast("JobClientBase", self._client)
        with nullcontext() if self._pipeline.destination.destination_type in (DUCKDB, POSTGRES) else client:
            yield client

    def _start(self, step: str) -> None:
        load_id = step.rpartition(" ")[2] if step.startswith(_LOAD) else ""
        if load_id in self._own:
            self._take_folder()
            packages = normalized_packages(self._pipeline)
            state: dict[str, Any] = packages.get_load_package_state(load_id)  # type: ignore[assignment]
            if state[MARK]["target"] == self._target():
                state.pop(_GIVE_UP, None)
                packages.save_load_package_state(load_id, state)  # type: ignore[arg-type]
                self._starting = load_id
        self._progress._start(step)  # noqa: SLF001 - what dlt itself calls

    def _stop(self) -> None:
        begun, of_load, is_right = self._begun, self._client, True
        try:
            if begun:
                is_right = self._note_end(begun)
        finally:
            self._starting = self._begun = ""
            try:
                self._let_dataset_go()
            except LockLostError:
                with cast("JobClientBase", of_load) as client:
                    note_incomplete(client, begun)
                raise
            finally:
                if self.step.startswith(_LOAD):
                    self._let_folder_go()
                self._progress._stop()  # noqa: SLF001 - what dlt itself calls
        if not is_right:
            raise RunError(DONE_TWICE)

    def _note_end(self, load_id: str) -> bool:
        """Write down how a load has ended; return False where it is complete and rows of it are there twice."""
        if is_retried(self._pipeline, load_id):
            with self._connected() as client:
                if is_doubled(client, load_id):
                    note_incomplete(client, load_id)
                    return False
        with suppress(DatabaseException), self._connected() as client:
            note_complete(client, load_id)
        return True

    def _target(self) -> str:
        """Name the destination of the pipeline; dlt resolves its configuration for that."""
        place = self._pipeline.destination, self._pipeline.dataset_name
        if place != self._place:
            self._place, self._target_name = place, target_of(self._pipeline)
        return self._target_name

    def _take_folder(self) -> None:
        if not self._is_folder_held:
            take_folder(self._pipeline)
            self._is_folder_held = True

    def _let_folder_go(self) -> None:
        if self._is_folder_held:
            self._is_folder_held = False
            file_lock.release(self._folder)

    def on_start_trace(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as it is
        """Pass on."""
        self._progress.on_start_trace(*arguments)

    def on_start_trace_step(self, trace: Any, step: Any, *arguments: Any) -> None:  # noqa: ANN401 - passed on as it is
        """Prepare a load."""
        self._failure = None
        if step == _STEP:
            try:
                self._prepare_load()
            except Exception as error:  # noqa: BLE001 - dlt would only log it: it is raised when the load begins
                self._failure = error
        self._progress.on_start_trace_step(trace, step, *arguments)

    def on_end_trace_step(self, trace: Any, step: Any, *arguments: Any) -> None:  # noqa: ANN401 - passed on as it is
        """Let the dataset go, where the load did not begin."""
        if step.step == _STEP:
            self._let_dataset_go()
        self._progress.on_end_trace_step(trace, step, *arguments)

    def on_end_trace(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as it is
        """Let the folder go: this is the end of what the user called."""
        self._let_folder_go()
        self._progress.on_end_trace(*arguments)
