"""Starts the benchmark's API for the time of a block."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection

from .environments import REPOSITORY


@dataclass(frozen=True, slots=True)
class Api:
    """A running API."""

    port: int

    @property
    def url(self) -> str:
        """Scheme and host."""
        return f"http://127.0.0.1:{self.port}"

    def count(self) -> int:
        """Return how many batches were asked for so far."""
        connection = HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request("GET", "/count")
            return int(connection.getresponse().read())
        finally:
            connection.close()


@contextmanager
def served(batches: int, results: int, latency_s: float = 0.0, *, first: int = 0) -> Iterator[Api]:
    """Serve so many batches, from the number `first`, each `latency_s` after it was asked for."""
    arguments = [str(argument) for argument in (first, batches, results, latency_s)]
    command = [sys.executable, "-m", "benchmarks.server", *arguments]
    with subprocess.Popen(  # noqa: S603 - our own server
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("unreachable: both are pipes")
        yield Api(int(process.stdout.readline()))
        process.stdin.close()
