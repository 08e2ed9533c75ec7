"""Fixtures that every suite has: an environment of its own, the simulated API, and a warehouse."""

import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import duckdb
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.pipeline import PipelineContext
from dlt.common.runtime.run_context import RunContext
from dlt.extract import DltSource

from enrow_source import enrow_source
from enrow_source.runner.report import RunReport
from enrow_source.runner.run import run
from enrow_source.testing import SimulatedEnrow
from tests.support.quicker import make_runs_quicker
from tests.support.warehouse import Warehouse

NewSource: TypeAlias = Callable[..., DltSource]
Load: TypeAlias = Callable[..., RunReport]

_CONFIGURATION = ("SOURCES__", "RUNTIME__", "DESTINATION__", "EXTRACT__", "NORMALIZE__", "LOAD__", "DATA_WRITER__")
_OTHER = ("SCHEMA__", "PIPELINES__", "DLT_", "ENROW_", "API_KEY", "NETRC")


def pytest_configure() -> None:
    """Turn telemetry off before a test module, when it is imported, makes dlt start it.

    A shell lets what runs in the background ignore Ctrl-C, and so would every command that a test starts.
    """
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def quicker() -> None:
    make_runs_quicker()


@pytest.fixture(scope="session", autouse=True)
def unconfigured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run without the machine's configuration and the repository's own, and without telemetry."""
    empty = tmp_path_factory.mktemp("unconfigured")
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith((*_CONFIGURATION, *_OTHER)):
                environment.delenv(name)
        for name in ("NO_PROXY", "no_proxy"):
            environment.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost"))))
        environment.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        environment.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.01")
        context = RunContext(".")
        context._global_dir = str(empty)
        with chdir(empty):  # where dlt reads the configuration, once
            Container()[PluggableRunContext].reload(context)
        yield


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty folder, with a data folder of dlt's in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    yield
    Container()[PipelineContext].deactivate()


@pytest.fixture
def api() -> Iterator[SimulatedEnrow]:
    with SimulatedEnrow() as running:
        yield running


@pytest.fixture
def new_source(api: SimulatedEnrow) -> NewSource:
    """Make a source that reads the simulated API: `new_source(ids, **options)`."""

    def make(batch_ids: Any = (), **options: Any) -> DltSource:
        return enrow_source(batch_ids, enrow_api_key=api.api_key, enrow_base_url=api.url, **options)

    return make


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Collect what is logged by way of dlt, whose log is set up by the first pipeline and passes nothing on."""
    log = logging.getLogger("dlt")
    log.addHandler(caplog.handler)
    yield caplog
    log.removeHandler(caplog.handler)


class Configure(Protocol):
    """Writes `.dlt/config.toml` and `.dlt/secrets.toml` and makes dlt read them."""

    def __call__(self, *, config: str = "", secrets: str = "") -> None: ...


@pytest.fixture
def configure(tmp_path: Path) -> Iterator[Configure]:
    folder = tmp_path / ".dlt"
    folder.mkdir()

    def write(*, config: str = "", secrets: str = "") -> None:
        (folder / "config.toml").write_text(config, encoding="utf-8")
        (folder / "secrets.toml").write_text(secrets, encoding="utf-8")
        Container()[PluggableRunContext].reload_providers()

    yield write
    shutil.rmtree(folder)
    Container()[PluggableRunContext].reload_providers()


@pytest.fixture
def held_open(tmp_path: Path) -> Iterator[None]:
    """Keep `warehouse.duckdb` open in this process: dlt connects to it a dozen times in a run, and each is quicker."""
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")):
        yield


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    warehouse = Warehouse(tmp_path)
    yield warehouse
    warehouse.close()


@pytest.fixture
def load(api: SimulatedEnrow, warehouse: Warehouse) -> Load:
    """Do a whole run from the simulated API into the warehouse: `load(ids, **options)`."""

    def run_it(batch_ids: list[str], **options: Any) -> RunReport:
        warehouse.hold()
        where = {"enrow_api_key": api.api_key, "enrow_base_url": api.url}
        return run(batch_ids, **({"pipeline": warehouse.pipeline()} | where | options))

    return run_it
