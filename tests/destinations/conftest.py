"""Parametrises the cases over the destinations that are asked for."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext
from dlt.common.runtime.run_context import RunContext, switched_run_context

from tests.destinations.dataset import TargetDataset
from tests.destinations.targets import QUICK, TARGETS, Started, Target, real_account

_CONFIGURATION = ("SOURCES__", "RUNTIME__", "DESTINATION__", "EXTRACT__", "NORMALIZE__", "LOAD__", "DATA_WRITER__")
_OTHERS = ("SCHEMA__", "PIPELINES__", "DLT_", "ENROW_", "API_KEY", "NETRC")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("destinations")
    group.addoption("--destination", action="append", choices=list(TARGETS), help="one of the targets; may be repeated")
    group.addoption("--real", action="store_true", help="load into the account whose credentials are in DESTINATION__*")


def pytest_configure() -> None:
    """Take Ctrl-C: a shell lets what runs in the background ignore it, and a case interrupts a submitter."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" not in metafunc.fixturenames:
        return
    targets = [TARGETS[name] for name in metafunc.config.getoption("--destination", None) or QUICK]
    params = [pytest.param(target, id=target.name) for target in targets]
    metafunc.parametrize("target", params, scope="session")


@pytest.fixture(scope="session")
def started(
    target: Target, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Started]:
    is_real = request.config.getoption("--real", default=False)
    with real_account(target) if is_real else target.start(tmp_path_factory.mktemp(target.name)) as running:
        yield running


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty folder, without any configuration, and send no telemetry."""
    for name in list(os.environ):
        if name.startswith(_CONFIGURATION + _OTHERS):
            monkeypatch.delenv(name)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost"))))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.01")
    context = RunContext(".")
    context._global_dir = str(tmp_path / "dlt")
    with switched_run_context(context):
        yield
        Container()[PipelineContext].deactivate()


@pytest.fixture
def warehouse(
    target: Target, started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TargetDataset]:
    for name, value in started.environ.items():
        monkeypatch.setenv(name, value)
    dataset = f"enrow_conformance_{uuid.uuid4().hex[:8]}"
    found = target.warehouse(started.destination, dataset, tmp_path, started.pipeline_options)
    yield found
    found.drop()
