"""Batch ids from where the options of the source say."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from dlt.extract import DltResource

from ..errors import ConfigurationError
from .files import batch_ids_from_files
from .query import batch_ids_from_query


def configured_resources(
    files: str | Iterable[str] | None, query: str | None, cursor: str | None, database: str | None
) -> list[DltResource]:
    """Make the resources that the options `batch_ids_...` of the source name.

    Raises:
        ConfigurationError: An option is of no use without another.
    """
    if query is None and cursor:
        raise ConfigurationError("batch_ids_cursor needs batch_ids_query: set it, or leave the cursor out")
    if isinstance(files, str):  # a variable of the environment: one place, or a JSON array
        try:
            files = msgspec.json.decode(files, type=list[str]) if files.lstrip().startswith("[") else [files]
        except msgspec.DecodeError as error:
            raise ConfigurationError(f'batch_ids_file is {files!r:.80}: write a path, or ["one", "more"]') from error
    resources = [batch_ids_from_files(location) for location in files or ()]
    return resources + ([batch_ids_from_query(query, database=database, cursor=cursor or None)] if query else [])
