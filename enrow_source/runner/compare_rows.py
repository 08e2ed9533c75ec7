"""Compares the rows of `phone_results` with what the ledger says was loaded."""

from __future__ import annotations

import shlex
from typing import Final

import dlt

from ..destination.results_loaded import rows_that_differ
from ..destination.session import sql_client_of
from ..errors import EnrowError
from ..settings import SOURCE_NAME

_NAMED: Final = 20
"""Batches that are named in a message."""


def compare_rows(pipeline: dlt.Pipeline) -> str:
    """Say that every batch has the rows that `results_loaded` claims, or that there is no such table yet.

    Raises:
        EnrowError: Some batches have other rows; names them, and the command that loads them again.
    """
    with sql_client_of(pipeline, SOURCE_NAME) as client:
        differ = rows_that_differ(client)
    if differ is None:
        return "there is no phone_results yet"
    if not differ:
        return "phone_results has the rows that results_loaded says"
    named = ", ".join(map(str, differ[:_NAMED]))
    more = f" and {len(differ) - _NAMED:,} more" if len(differ) > _NAMED else ""
    ids = " ".join(shlex.quote(each.batch_id) for each in differ[:_NAMED])
    raise EnrowError(
        f"batches with other rows in phone_results than results_loaded in phone_results_ledger says: {named}{more}."
        f" Unless a run is at work, this loads them again: enrow run {ids} --refetch"
    )
