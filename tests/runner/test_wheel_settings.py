"""The settings that `run()` brings along, from the wheel in an empty folder; a user's configuration overrides each."""

import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import pytest

from enrow_source.testing import SimulatedEnrow
from tests.support.wheel import Installation

pytest_plugins = ("tests.support.wheel",)

USE = """
import json, os, signal, sys
from pathlib import Path

from dlt.common.runtime.collector_base import Collector

from enrow_source import build_pipeline, enrow_source, run


class Watch(Collector):
    '''Sends SIGTERM after the first job of a load.'''

    sends = "sigterm" in sys.argv

    def _start(self, step):
        self.step = step

    def _stop(self):
        pass

    def update(self, name, inc=1, total=None, inc_total=None, message=None, label=None):
        if self.step.startswith("Load") and name == "Jobs" and self.sends:
            self.sends = False
            os.kill(os.getpid(), signal.SIGTERM)


seen = {}
pipeline = build_pipeline(progress=Watch())
try:
    pipeline.run(enrow_source(sys.argv[1].split(",")))
except Exception as error:
    seen["error"] = str(error)
else:
    seen["report"] = str(run([], pipeline=pipeline))
with pipeline.sql_client() as client:
    (seen["memory"], seen["threads"]), = client.execute_sql(
        "SELECT current_setting('memory_limit'), current_setting('threads')"
    )
load = Path(pipeline.working_dir, "load")
seen["folder"] = str(load)
seen["left"] = sorted(str(file.relative_to(load)) for file in load.rglob("*") if file.is_file())
print(json.dumps(seen))
"""


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[str]]]:
    """An endpoint for dlt's telemetry, and the events that it got."""
    events: list[str] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            events.append(json.loads(body)["event"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", events
        server.shutdown()


class User:
    """Somebody who has installed the wheel and has an empty folder."""

    def __init__(self, installed: Installation, api: SimulatedEnrow, folder: Path) -> None:
        self.installed, self.api, self.folder = installed, api, folder

    def use(self, *arguments: str, config: str = "", rows: int = 2, **env: str) -> dict[str, Any]:
        """Run the script; return what it saw."""
        (self.folder / ".dlt").mkdir(exist_ok=True)
        (self.folder / ".dlt" / "config.toml").write_text(config)
        (self.folder / "use.py").write_text(USE)
        ids = ",".join(self.api.add_completed(f"batch-{n}", rows) for n in range(3))
        environ = self.installed.environ(
            self.folder, {"ENROW_API_KEY": self.api.api_key, "SOURCES__ENROW__ENROW_BASE_URL": self.api.url, **env}
        )
        del environ["RUNTIME__DLTHUB_TELEMETRY"]
        ended = subprocess.run(
            [str(self.installed.python), "use.py", ids, *arguments],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        seen: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return seen


@pytest.fixture
def user(installed: Installation, api: SimulatedEnrow, tmp_path: Path) -> User:
    return User(installed, api, tmp_path)


def test_what_run_brings_along(user: User, endpoint: tuple[str, list[str]]) -> None:
    """No telemetry, limits of DuckDB, and a working folder that does not grow: `run()` keeps the last loads alone."""
    url, events = endpoint
    seen = user.use(RUNTIME__DLTHUB_TELEMETRY_ENDPOINT=url)
    assert events == []
    assert (seen["memory"], seen["threads"]) == ("91.5 MiB", 1)  # 96 MB
    assert not [file for file in seen["left"] if "phone_results" in file]
    loads = Path(seen["folder"], "loaded")
    for number in range(12):
        (loads / f"100000000{number:02}.0").mkdir()
    assert len(list(loads.iterdir())) == 13
    user.use()
    assert len(list(loads.iterdir())) == 10


@pytest.mark.slow
def test_a_user_overrides_it(user: User, endpoint: tuple[str, list[str]]) -> None:
    """Also shows that the endpoint of these tests would get what is sent; of two limits the other one stays."""
    url, events = endpoint
    config = """
[runtime]
dlthub_telemetry = true
[load]
delete_completed_jobs = false
[data_writer]
file_max_items = 2
[destination.duckdb.credentials.global_config]
memory_limit = '1GB'
"""
    seen = user.use(config=config, RUNTIME__DLTHUB_TELEMETRY_ENDPOINT=url)
    assert "pipeline_run" in events
    kept = [file for file in seen["left"] if file.startswith("loaded") and "/phone_results." in file]
    assert len(kept) > 1, "each batch is a file of its own where a file may have as many rows as a batch"
    assert (seen["memory"], seen["threads"]) == ("953.6 MiB", 1)
    assert (user.folder / "warehouse.duckdb").is_file()


@pytest.mark.slow
def test_limits_of_a_named_destination(user: User) -> None:
    seen = user.use(config="[destination.warehouse.credentials.global_config]\nmemory_limit = '1GB'\n")
    assert (seen["memory"], seen["threads"]) == ("953.6 MiB", 1)
    assert (user.folder / "warehouse.duckdb").is_file()


def test_a_load_finishes_after_sigterm(user: User) -> None:
    seen = user.use("sigterm", LOAD__WORKERS="1")
    assert "error" not in seen
    with duckdb.connect(str(user.folder / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM enrow_data.phone_results").fetchone() == (6,)


@pytest.mark.slow
def test_a_user_ends_a_load_on_sigterm(user: User) -> None:
    seen = user.use("sigterm", config="[load]\nstart_new_jobs_on_signal = false\n", LOAD__WORKERS="1")
    assert "ignal" in seen["error"]


def test_other_pipelines_keep_their_settings(user: User) -> None:
    """A scheduler runs pipelines of other sources in the same process."""
    (user.folder / "other.py").write_text("""
import dlt
from enrow_source import build_pipeline

def workers():
    return dlt.config.get("load.workers")

ours = build_pipeline()
print(workers())
dlt.pipeline("other", destination="duckdb")
print(workers())
ours.activate()
print(workers())
""")
    ended = user.installed.run(user.folder, "python", "other.py")
    assert ended.stdout.split() == ["2", "None", "2"]
