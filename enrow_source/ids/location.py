"""Where files of ids are: a path, a glob or a URL, and the files that are there."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from dlt.common.exceptions import MissingDependencyException
from dlt.common.storages import FilesystemConfiguration
from dlt.common.storages.fsspec_filesystem import FileItemDict

from ..errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class FileLocation:
    """A folder or bucket, and the files in it."""

    url: str
    glob: str
    may_be_empty: bool
    """Whether nothing may be there: a pattern matches what will come."""
    folder: str = ""
    """The local folder that the pattern begins at; empty for a bucket."""

    @classmethod
    def of(cls, location: str) -> Self:
        """Split a path, glob or URL into folder and pattern.

        Raises:
            ConfigurationError: It is empty, or the folder of a pattern does not exist.
        """
        if not location.strip():
            raise ConfigurationError("batch_ids_file is empty: name a file, a folder or a pattern, or leave it out")
        if location.startswith("file:") or FilesystemConfiguration.is_local_path(location):
            is_url = location.startswith("file:")
            return cls._local(FilesystemConfiguration.make_local_path(location) if is_url else location)
        scheme, _, rest = location.rpartition("://")
        if scheme not in FilesystemConfiguration.PROTOCOL_CREDENTIALS:
            raise ConfigurationError(
                f"{scheme}:// is no place that batch ids are read from: name a path, or an URL with s3://, gs:// or az://,"
                " or give the content of the file on standard input, as -"
            )
        folder, _, name = rest.rpartition("/")
        if not name:
            return cls(location, "**/*", may_be_empty=True)
        if found := _MAGIC.search(rest):
            cut = rest.rindex("/", 0, found.start())
            folder, name = rest[:cut], rest[cut + 1 :]
        return cls(f"{scheme}://{folder}", name, may_be_empty=found is not None)

    @classmethod
    def _local(cls, location: str) -> Self:
        path = Path(location).absolute()
        if path.is_dir():
            return cls._in(path, "**/*", may_be_empty=True)
        if path.exists() and not path.is_file():
            raise ConfigurationError(
                f"{location} is a pipe or a device, which cannot be read twice: give it on standard input, as -"
            )
        if path.exists():  # also where its name is like a pattern
            return cls._in(path.parent, glob.escape(path.name), may_be_empty=False)
        # The folders that exist are names, whatever characters they have; the pattern begins where they end.
        folder = next(parent for parent in path.parents if parent.is_dir())
        pattern = path.relative_to(folder)
        if not _MAGIC.search(str(pattern)):
            return cls._in(folder, str(pattern), may_be_empty=False)
        if not _MAGIC.search(pattern.parts[0]):
            raise ConfigurationError(
                f"there is no folder {folder / pattern.parts[0]}, in which batch ids were to be read from {location}:"
                f" check the path and the working directory, {Path.cwd()}"
            )
        return cls._in(folder, str(pattern), may_be_empty=True)

    @classmethod
    def _in(cls, folder: Path, pattern: str, *, may_be_empty: bool) -> Self:
        # The folder becomes a URL and is part of the pattern as well: what neither can hold goes to the pattern.
        plain = next(parent for parent in (folder, *folder.parents) if not re.search(r"[*?[\]%#;]", str(parent)))
        names = [glob.escape(part) for part in folder.relative_to(plain).parts]
        return cls(str(plain), str(Path(*names, pattern)), may_be_empty, str(folder))

    def files(self) -> Iterator[FileItemDict]:
        """List the files."""
        from dlt.sources.filesystem import filesystem  # noqa: PLC0415 - it imports pandas' readers; only who reads files

        try:
            yield from filesystem(self.url, file_glob=self.glob)
        except MissingDependencyException as error:
            extra = self.url.split(":")[0]
            raise ConfigurationError(
                f"{self.url} cannot be read without {', '.join(error.dependencies)}:"
                f" pip install 'enrow-source[{extra}]'"
            ) from error

    def arrival_of(self, file: FileItemDict) -> datetime:
        """Return when a file came here: a local one that is moved in keeps the time of its writing."""
        written: datetime = file["modification_date"]
        if "file" not in file.fsspec.protocol:
            return written
        try:
            came = datetime.fromtimestamp(self._changed(Path(file.local_file_path)), UTC)
        except OSError:  # gone meanwhile, which is reported where it is opened
            return written
        # A time of writing that is ahead is somebody's invention, unlike that of the change of the entry.
        return came if written > datetime.now(UTC) else max(written, came)

    def _changed(self, path: Path) -> float:
        """Return when the entry of a file, or that of a folder it is in, last changed.

        Each new file changes the entry of its folder, so the folder that is read as a whole counts only where it was
        moved here: it then keeps the time of its content.
        """
        entries = [os.lstat(path), path.stat()]
        for parent in path.parents:
            if str(parent) == self.folder:
                whole = parent.stat()
                entries += [whole] if whole.st_ctime > whole.st_mtime else []
                break
            entries.append(parent.stat())
        return max(entry.st_ctime for entry in entries)


_MAGIC: Final = re.compile(r"[*?[]")
