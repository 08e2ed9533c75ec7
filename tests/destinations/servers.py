"""The servers that the targets load into, each a real process that is started and ended here."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.destinations import environments

START_S = 60


@contextmanager
def s3() -> Iterator[str]:
    """Run moto's server and yield its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with process([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], url):
        yield url


@contextmanager
def fakesnow(s3_url: str = "") -> Iterator[int]:
    """Run fakesnow's server, which reads the S3 at `s3_url`, and yield its port."""
    port = free_port()
    # Another environment for S3: the DuckDB that has an extension for it is not the newest.
    python = str(environments.python_of("fakesnow-s3")) if s3_url else sys.executable
    command = [python, "-m", "tests.destinations.fakesnow_server", str(port), *s3_url.split("//")[1:]]
    with process(command, f"http://127.0.0.1:{port}"):
        yield port


@contextmanager
def bqemulator(buckets: str = "") -> Iterator[str]:
    """Run bqemulator, which finds the objects of `gs://` in the folder `buckets`, and yield its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(environments.python_of("bqemulator")), "-m", "tests.destinations.bqemulator_server", str(port)]
    with process(command, url, {"BQEMU_GCS_LOCAL_ROOT": buckets} if buckets else {}):
        yield url


@contextmanager
def cloud_storage(folder: Path, bucket: str) -> Iterator[tuple[str, str]]:
    """Run an emulator of Google's Cloud Storage with one bucket, and yield its URL and its folder of buckets."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(environments.python_of("bqemulator")), "-m", "gcp_storage_emulator", "-d", str(folder), "start"]
    with process([*command, "--host=127.0.0.1", f"--port={port}", f"--default-bucket={bucket}"], url):
        yield url, str(folder / ".cloudstorage")


@contextmanager
def process(command: Sequence[str], url: str, environ: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run a server until the block ends; it is up once `url` answers."""
    with tempfile.TemporaryFile() as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(environ or {})})
        try:
            _await_answer(running, url)
            yield
        except TimeoutError as error:
            log.seek(0)
            raise RuntimeError(f"{error}\n{log.read().decode(errors='replace')}") from error
        finally:
            running.terminate()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _await_answer(running: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and running.poll() is None:
        try:
            with requests.Session() as session:
                session.trust_env = False
                session.get(url, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"{running.args!r} did not answer at {url}")
