"""The file in which a simulated API keeps what it accepted, for another process, and for the next server."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from .accepted import AcceptedBatch
from .responses import encoded

_START = b'{"kind":'


@dataclass(frozen=True)
class JournalState:
    """What a journal holds.

    accepted: batches in the order in which they were accepted. posts: POSTs with a good key, refused ones included.
    """

    accepted: tuple[AcceptedBatch, ...]
    posts: int


class Journal:
    """Appends entries to a file of JSON lines; each is in the file before the POST that it is about is answered.

    The entry is handed to the operating system in one write: a process that is killed loses nothing of it.
    """

    def __init__(self, path: Path) -> None:
        """Make the file, or cut off the entry that a killed server left unfinished in it.

        Raises ValueError, and leaves the file as it is, if it is no journal.
        """
        self.path = path
        with path.open("a+b") as file:
            file.seek(0)
            content = file.read()
            whole = content.rfind(b"\n") + 1
            # A file that somebody names by mistake must not lose its last line.
            if not content[whole:].startswith(_START) and not _START.startswith(content[whole:]):
                raise ValueError(f"the last line of {path} is no entry of a journal")
            read_journal(path)
            file.truncate(whole)

    def accepted(self, batch: AcceptedBatch) -> None:
        """Note a batch that was accepted."""
        self._append({"kind": "accepted", **batch.as_json()})

    def refused(self, post: int, status: int, fault: str | None) -> None:
        """Note a POST that was refused: nothing was accepted."""
        self._append({"kind": "refused", "post": post, "status": status, "fault": fault})

    def finished(self, batch: AcceptedBatch) -> None:
        """Note the end of an accepted batch."""
        changed = ("batch_id", "status", "finished_at", "credits_refunded", "found", "balance")
        self._append({"kind": "finished", **{key: batch.as_json()[key] for key in changed}})

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("ab", buffering=0) as file:
            file.write(encoded(entry) + b"\n")


def read_journal(path: Path) -> JournalState:
    """Return what the journal holds; an entry without its newline was never finished, so it does not count.

    Raises FileNotFoundError where no server has opened it yet, ValueError where it is no journal.
    """
    accepted: dict[str, AcceptedBatch] = {}
    posts = 0
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            entry = json.loads(line)
            kind = entry.pop("kind")
            if kind == "finished":
                entry["finished_at"] = datetime.fromisoformat(entry["finished_at"])
                accepted[entry["batch_id"]] = replace(accepted[entry["batch_id"]], **entry)
                continue
            posts = max(posts, entry["post"] + 1)
            if kind == "accepted":
                accepted[entry["batch_id"]] = AcceptedBatch.from_json(entry)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"line {number} of {path} is no entry of a journal") from error
    return JournalState(tuple(accepted.values()), posts)
