"""Batch ids from files and buckets, incrementally.

https://dlthub.com/docs/dlt-ecosystem/verified-sources/filesystem
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import dlt
from dlt.common import logger
from dlt.common.storages.fsspec_filesystem import FileItemDict
from dlt.extract import DltResource
from dlt.extract.incremental import Incremental

from ..errors import ConfigurationError
from ..settings import ID_LAG_S, ID_PAGE, YOUNG_FILE_S
from .cursor import cursor_on, is_far_ahead, not_ahead, resource_name
from .formats import read_file
from .location import FileLocation
from .validate import IdOrError, InvalidEntry


def batch_ids_from_files(location: str, *, lag_s: float = ID_LAG_S) -> DltResource:
    """Yield the batch ids of files, of those alone that have arrived since the last run.

    One id on each line; CSV and Parquet with a column `batch_id`, `bulk_id` or `id`; JSON and JSONL with such a key,
    or webhook events, also in the envelope of a relay. Each also as `.gz`. What cannot be read is reported and left
    out; the rest of the file is read.

    Args:
        location: A path, a glob (`ids/**/*.csv`) or a URL: `file://`, `s3://`, `gs://`, `az://`. A folder stands for
            all that is in it, a bucket URL that ends in `/` too. Credentials are dlt's, for `sources.filesystem`.
        lag_s: Seconds before the newest file that are read again, since files may appear out of order.

    Returns:
        A resource for `enrow_source(batch_ids=...)`, which remembers the time of the newest file it has read.

    Raises:
        ConfigurationError: The location is empty, or its folder does not exist. While it is read: a file that is
            named does not exist, or a package is missing.
    """
    place = FileLocation.of(location)

    @dlt.resource(name=resource_name("files", place.url, place.glob))
    def arrived(modification_date: Incremental[Any] = cursor_on("modification_date", lag_s)) -> Iterator[Any]:  # noqa: ARG001, B008 - dlt filters by it
        files, ahead = 0, 0
        for file in place.files():
            files += 1
            ahead += is_far_ahead(file["modification_date"])
            file["modification_date"] = not_ahead(place.arrival_of(file))
            yield [file]
        if ahead:
            logger.warning(f"{ahead} of the files {location} are dated ahead of the clock of this run")
        if not files and not place.may_be_empty:
            raise ConfigurationError(f"there is no file {location}, which batch ids were to be read from")
        if not files:
            logger.warning(f"no file matches {location}: no batch ids are read from there")

    @dlt.transformer(name=resource_name("ids", place.url, place.glob))
    def ids(page: Sequence[FileItemDict]) -> Iterator[list[IdOrError]]:
        for file in page:
            entries = _ids_of_file(file, lag_s)
            while some := list(islice(entries, ID_PAGE)):  # dlt takes its time for each thing that is yielded
                yield some

    resource: DltResource = arrived | ids
    return resource


def _ids_of_file(file: FileItemDict, lag_s: float) -> Iterator[IdOrError]:
    name = file["file_url"]
    # Within the lag, so that the next run reads the file again.
    young = timedelta(seconds=min(lag_s, YOUNG_FILE_S))
    is_growing = datetime.now(UTC) - file["modification_date"] < young
    try:
        entries = 0
        with file.open() as opened:
            for entry in read_file(opened, name, file["file_name"], is_growing=is_growing):
                entries += 1
                yield entry
        if not entries:
            logger.warning(f"{name} holds no batch id")
    except FileNotFoundError:
        yield InvalidEntry(f"{name} was gone before it could be read")
