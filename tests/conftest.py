"""What the tests share: an environment of their own, the simulated API, and a DuckDB file that pipelines load into."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import dlt
import duckdb
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.pipeline import PipelineContext
from dlt.common.runtime.run_context import RunContext
from dlt.extract import DltSource

from enrow_source import enrow_source
from enrow_source.testing import SimulatedEnrow

Row: TypeAlias = dict[str, Any]
NewSource: TypeAlias = Callable[..., DltSource]

_CONFIGURATION = ("SOURCES__", "RUNTIME__", "DESTINATION__", "EXTRACT__", "NORMALIZE__", "LOAD__", "DATA_WRITER__")
_OTHER = ("SCHEMA__", "PIPELINES__", "DLT_", "ENROW_", "API_KEY", "NETRC")


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


VARYING = ("deferred_at", "fetched_at", "first_seen_at", "_dlt_load_id")


class Warehouse:
    """A DuckDB file, and the pipelines that load into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "warehouse.duckdb"
        self._connection: duckdb.DuckDBPyConnection | None = None

    def pipeline(self, container: str = "first") -> dlt.Pipeline:
        """Build the pipeline as a container does that has the working folders of that name, or none yet."""
        pipeline: dlt.Pipeline = dlt.pipeline(
            "enrow",
            destination=dlt.destinations.duckdb(str(self.file)),
            dataset_name="enrow_data",
            pipelines_dir=str(self.folder / container),
        )
        return pipeline

    def run(self, source: DltSource, container: str = "first", **options: Any) -> None:
        self._open()
        self.pipeline(container).run(source, **options)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Query the dataset."""
        return self._open().execute(f"USE enrow_data; {statement}").fetchall()

    def _open(self) -> duckdb.DuckDBPyConnection:
        """Keep the file open: dlt connects to it a dozen times in a run, and each is quicker then."""
        self._connection = self._connection or duckdb.connect(str(self.file))
        return self._connection

    def close(self) -> None:
        """Let another process have the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def columns(self, table: str) -> list[str]:
        return [name for (name,) in self.sql(f"SELECT column_name FROM (DESCRIBE {table})")]

    def rows(self, table: str) -> list[Row]:
        """Return the whole rows of a table in their order, without the columns that differ from run to run."""
        names = [name for name in self.columns(table) if name not in VARYING]
        found = self.sql(f"SELECT COLUMNS(name -> name NOT IN {VARYING}) FROM {table} ORDER BY ALL")
        return [dict(zip(names, row, strict=True)) for row in found]

    def tables(self) -> set[str]:
        """Return the names of the tables, without dlt's own."""
        found = self.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'enrow_data'")
        return {name for (name,) in found if not name.startswith("_dlt")}


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    warehouse = Warehouse(tmp_path)
    yield warehouse
    warehouse.close()
