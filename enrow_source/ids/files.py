"""Batch ids from files and buckets, incrementally.

https://dlthub.com/docs/dlt-ecosystem/verified-sources/filesystem
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import dlt
from dlt.common.exceptions import MissingDependencyException
from dlt.common.storages import FilesystemConfiguration
from dlt.common.storages.fsspec_filesystem import FileItemDict
from dlt.extract import DltResource
from dlt.extract.incremental import Incremental

from ..errors import ConfigurationError
from ..settings import ID_LAG_S
from .cursor import cursor_on, resource_name
from .formats import READERS, read_text, unreadable_file_errors
from .input import IdOrError, InvalidEntry


def batch_ids_from_files(location: str, *, lag_s: float = ID_LAG_S) -> DltResource:
    """Yield the batch ids of files, of those alone that have arrived since the last run.

    One id on each line; CSV and Parquet with a column `batch_id` or `id`; JSON and JSONL with such a key, or webhook
    events, of which those other than `bulk_phone_search_finished` are left out. Each also as `.gz`. What cannot be
    read is reported and left out; the rest of the file is read.

    Args:
        location: A path, a glob (`ids/**/*.csv`) or a URL: `file://`, `s3://`, `gs://`, `az://`. A folder stands for
            all that is in it, a bucket URL that ends in `/` too. Credentials are dlt's, for `sources.filesystem`.
        lag_s: Seconds before the newest file that are read again, since files may appear out of order.

    Returns:
        A resource for `enrow_source(batch_ids=...)`, which remembers the time of the newest file it has read.

    Raises:
        ConfigurationError: While it is read: a file that is named does not exist, or a package is missing.
    """
    place = FileLocation.of(location)

    @dlt.resource(name=resource_name("files", place.url, place.glob))
    def arrived(modification_date: Incremental[Any] = cursor_on("modification_date", lag_s)) -> Iterator[Any]:  # noqa: ARG001, B008 - dlt filters by it
        is_empty = True
        for page in place.pages():
            is_empty = False
            yield page
        if is_empty and not place.may_be_empty:
            raise ConfigurationError(f"there is no file {location}, which batch ids were to be read from")

    @dlt.transformer(name=resource_name("ids", place.url, place.glob))
    def ids(page: Sequence[FileItemDict]) -> Iterator[IdOrError]:
        for file in page:
            yield from _ids_of_file(file)

    resource: DltResource = arrived | ids
    return resource


@dataclass(frozen=True, slots=True)
class FileLocation:
    """A folder or bucket, and the files in it."""

    url: str
    glob: str
    may_be_empty: bool
    """Whether nothing may be there: a pattern matches what will come."""

    @classmethod
    def of(cls, location: str) -> Self:
        """Split a path, glob or URL into folder and pattern."""
        if FilesystemConfiguration.is_local_path(location) or location.startswith("file:"):
            is_url = location.startswith("file:")
            path = Path(FilesystemConfiguration.make_local_path(location) if is_url else location).absolute()
            if path.is_dir():
                return cls(str(path), "**/*", may_be_empty=True)
            if path.exists():  # also where its name looks like a pattern
                return cls(str(path.parent), re.sub(r"([*?[])", r"[\1]", path.name), may_be_empty=False)
            location = str(path)
        scheme, _, rest = location.rpartition("://")
        folder, _, name = rest.rpartition("/")
        if not name:
            return cls(location, "**/*", may_be_empty=True)
        if found := re.search(r"[*?[]", rest):
            cut = rest.rindex("/", 0, found.start())
            folder, name = rest[:cut], rest[cut + 1 :]
        return cls(f"{scheme}://{folder}" if scheme else folder or "/", name, may_be_empty=found is not None)

    def pages(self) -> Iterator[list[FileItemDict]]:
        """List the files, a page at a time."""
        from dlt.sources.filesystem import filesystem  # noqa: PLC0415 - it imports pandas' readers; only who reads files

        try:
            for item in filesystem(self.url, file_glob=self.glob):
                yield [self._arrived(item)]
        except MissingDependencyException as error:
            extra = self.url.split(":")[0]
            raise ConfigurationError(
                f"{self.url} cannot be read without {', '.join(error.dependencies)}:"
                f" pip install 'enrow-source[{extra}]'"
            ) from error

    @staticmethod
    def _arrived(file: FileItemDict) -> FileItemDict:
        """Date a local file by when it came here: one that is moved in keeps the time of its writing."""
        if "file" in file.fsspec.protocol:
            changed = datetime.fromtimestamp(os.stat(file.local_file_path).st_ctime, UTC)  # noqa: PTH116
            file["modification_date"] = max(file["modification_date"], changed)
        return file


def _ids_of_file(file: FileItemDict) -> Iterator[IdOrError]:
    name = file["file_url"]
    suffix = Path(file["file_name"].removesuffix(".gz")).suffix.lower()
    try:
        with file.open() as opened:
            yield from READERS.get(suffix, read_text)(opened, name)
    except FileNotFoundError:
        yield InvalidEntry(f"{name} was gone before it could be read")
    except unreadable_file_errors() as error:
        yield InvalidEntry(f"{name} is damaged: {type(error).__name__}")
