"""Ends the process at a point of the run: wraps the methods of dlt and of the source that the run passes there.

The wrapped methods do what they always do. Imported in the process of a run alone.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from dlt.common.destination.client import RunnableLoadJob
from dlt.common.storages.load_package import PackageStorage
from dlt.common.storages.load_storage import LoadStorage
from dlt.destinations.job_client_impl import SqlJobClientBase, SqlLoadJob
from dlt.destinations.sql_client import SqlClientBase
from dlt.extract.extract import Extract
from dlt.normalize.items_normalizers import ArrowItemsNormalizer
from dlt.pipeline.pipeline import Pipeline

from enrow_source.api.client import EnrowClient
from enrow_source.destination.guard import LoadGuard

from .points import Kill, Point


def _always(_: Any) -> bool:
    return True


def _copies_results(job: RunnableLoadJob) -> bool:
    return job.load_table_name == "phone_results" and not isinstance(job, SqlLoadJob)


class Hook(NamedTuple):
    """A method that a run passes at a point."""

    when: Literal["before", "after"]
    method: str
    owner: type
    counts: Callable[[Any], bool] = _always
    """Whether a call for this object counts."""


_HOOKS: Final = {
    Point.GIVING_UP: Hook("after", "set_abort_flag", PackageStorage),
    Point.GIVING_UP_JOBS: Hook("after", "abort_package", PackageStorage),
    Point.GIVEN_UP: Hook("before", "_cleanup_aborted_package", Pipeline),
    Point.ANSWERED: Hook("after", "fetch_batch", EnrowClient),
    Point.EXTRACTED: Hook("before", "commit_packages", Extract),
    Point.NORMALISED_FILE: Hook("after", "__call__", ArrowItemsNormalizer),
    Point.NORMALISED: Hook("before", "commit_new_load_package", LoadStorage),
    Point.NORMALISED_TWICE: Hook("after", "commit_new_load_package", LoadStorage),
    Point.BEGUN: Hook("after", "_begin_load", LoadGuard),
    Point.MIGRATED: Hook("before", "commit_schema_update", LoadStorage),
    Point.COPIED: Hook("before", "_release", RunnableLoadJob),
    Point.STAGED: Hook("before", "_release", RunnableLoadJob, _copies_results),
    Point.NOTED: Hook("after", "_release", RunnableLoadJob),
    Point.FOLLOWED: Hook("after", "import_job", PackageStorage),
    Point.PUT_AWAY: Hook("after", "complete_job", PackageStorage),
    Point.MERGING: Hook("before", "run", SqlLoadJob),
    Point.UNCOMMITTED: Hook("after", "execute_many", SqlClientBase),
    Point.MERGED: Hook("after", "run", SqlLoadJob),
    Point.COMPLETING: Hook("before", "complete_load", SqlJobClientBase),
    Point.COMPLETED: Hook("after", "complete_load", SqlJobClientBase),
    Point.CLOSING: Hook("before", "complete_load_package", LoadStorage),
    Point.CLOSED: Hook("after", "complete_load_package", LoadStorage),
}


def note_stages(file: int) -> None:
    """Write down each step as it begins, so that the place of a kill by the clock is known."""

    def begins(step: str) -> Callable[[object], object]:
        return lambda _: os.write(file, f"{step}\n".encode())

    for step in ("extract", "normalize", "load"):
        wrap(Pipeline, step, "before", begins(step))


def arm(kill: Kill, number: int) -> None:
    """Send this process the signal of that number when it reaches the point; the clock is not its own."""
    if kill.point is Point.CLOCK:
        return
    lock, left = threading.Lock(), kill.nth

    from .submit_hooks import SUBMIT_HOOKS  # noqa: PLC0415 - it takes the wrapping from here

    hook = _HOOKS[kill.point] if isinstance(kill.point, Point) else SUBMIT_HOOKS[kill.point]

    def reached(what: object) -> None:
        nonlocal left
        with lock:
            left -= hook.counts(what)
            if left == 0:
                os.kill(os.getpid(), number)

    wrap(hook.owner, hook.method, hook.when, reached)


def wrap(owner: type, method: str, when: Literal["before", "after"], call: Callable[[Any], Any]) -> None:
    """Call before or after each call of a method, with its object."""
    original = getattr(owner, method)

    @functools.wraps(original)
    def wrapped(self: object, *arguments: object, **options: object) -> object:
        if when == "before":
            call(self)
        result = original(self, *arguments, **options)
        if when == "after":
            call(self)
        return result

    setattr(owner, method, wrapped)
