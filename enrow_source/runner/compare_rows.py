"""Compares the rows of `phone_results` with what the ledger says was loaded."""

from __future__ import annotations

import shlex
from typing import Final

import dlt

from ..destination.results_loaded import rows_that_differ
from ..errors import EnrowError

_NAMED: Final = 20
"""Batches that are named in a message."""

_NOTHING: Final = "nothing is loaded yet"


def compare_rows(pipeline: dlt.Pipeline) -> str:
    """Say that every batch has the rows that `results_loaded` claims, or that nothing is loaded yet.

    Args:
        pipeline: Names destination and dataset; its working folder may be empty.

    Raises:
        EnrowError: Some batches have other rows; names them, and the command that loads them again.
    """
    pipeline.sync_destination()
    if not pipeline.schema_names:
        return _NOTHING
    with pipeline.sql_client() as client:
        differ = rows_that_differ(client)
    if differ is None:
        return _NOTHING
    if not differ:
        return "phone_results has the rows that results_loaded says"
    named = ", ".join(map(str, differ[:_NAMED]))
    more = f" and {len(differ) - _NAMED:,} more" if len(differ) > _NAMED else ""
    ids = " ".join(shlex.quote(each.batch_id) for each in differ[:_NAMED])
    raise EnrowError(
        f"batches with other rows in phone_results than results_loaded says: {named}{more}."
        f" Unless a run is at work, this loads them again: enrow run {ids} --refetch"
    )
