"""`python -m tests.destinations.models_on_emulator NAME DBT FOLDER`: load into an emulator, and build the SQL models.

Without the unit tests: fakesnow cannot make the temporary tables that they want.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination import Destination

from enrow_source import enrow_source
from enrow_source.testing import SimulatedEnrow
from tests.destinations import servers
from tests.destinations.targets import BIGQUERY_PROJECT, bigquery_at, bigquery_environ, snowflake_at
from tests.support import REPOSITORY

Emulated = tuple[Destination[Any, Any], dict[str, Any]]
"""Where dlt loads, and the same as dbt connects to it."""


@contextmanager
def snowflake() -> Iterator[Emulated]:
    """Run fakesnow."""
    with servers.fakesnow() as port:
        target = {"account": "fakesnow", "host": "127.0.0.1", "port": port, "protocol": "http", "warehouse": "W"}
        user = {"user": "fake", "password": "snow", "database": "WAREHOUSE", "schema": "ENROW"}
        yield snowflake_at(port)(), {**target, **user}


@contextmanager
def bigquery() -> Iterator[Emulated]:
    """Run bqemulator."""
    with servers.bqemulator() as url:
        os.environ.update(bigquery_environ(url))
        target = {"method": "oauth-secrets", "token": "fake", "api_endpoint": url}
        yield bigquery_at(), {**target, "project": BIGQUERY_PROJECT, "dataset": "enrow"}


EMULATORS = {"snowflake": snowflake, "bigquery": bigquery}


def main(name: str, dbt: str, folder: Path) -> int:
    """Return dbt's exit code."""
    with EMULATORS[name]() as (destination, target), SimulatedEnrow() as api:
        ids = [
            api.add_completed("spring", 40, custom={"campaign": "spring"}),
            api.add_completed("none-found", 4, 0.0),
            api.add_ongoing("ongoing", None, 5),
            api.add_failed("failed"),
            "nobody-knows",
        ]
        pipeline = dlt.pipeline("enrow", destination=destination, dataset_name="enrow_data", pipelines_dir=str(folder))
        pipeline.run(enrow_source(ids, enrow_api_key=api.api_key, enrow_base_url=api.url))
        profile = {"enrow": {"target": name, "outputs": {name: {"type": name, **target, "threads": 1}}}}
        (folder / "profiles.yml").write_text(json.dumps(profile), encoding="utf-8")
        command = [dbt, "--no-use-colors", "build", "--exclude", "test_type:unit", "--profiles-dir", str(folder)]
        command += ["--target-path", str(folder / "target"), "--log-path", str(folder / "logs")]
        return subprocess.run(command, cwd=REPOSITORY / "dbt", env=os.environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
