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
        ConfigurationError: An option is empty, or of no use without another.
    """
    texts = {"file": files, "query": query, "cursor": cursor, "database": database}
    for name, value in texts.items():
        if isinstance(value, str) and not value.strip():
            raise ConfigurationError(f"batch_ids_{name} is empty: set it, or leave it out")
    if query is None and cursor is not None:
        raise ConfigurationError("batch_ids_cursor needs batch_ids_query: set it, or leave the cursor out")
    if isinstance(files, str):  # a variable of the environment: one place, or a JSON array
        try:
            files = msgspec.json.decode(files, type=list[str]) if files.lstrip().startswith("[") else [files]
        except msgspec.DecodeError as error:
            raise ConfigurationError(f'batch_ids_file is {files!r:.80}: write a path, or ["one", "more"]') from error
    resources = [batch_ids_from_files(location) for location in files or ()]
    return resources + ([batch_ids_from_query(query, database=database, cursor=cursor)] if query is not None else [])
