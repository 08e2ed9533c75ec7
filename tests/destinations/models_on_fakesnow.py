"""`python -m tests.destinations.models_on_fakesnow DBT FOLDER`: load into fakesnow, and build the SQL models there.

Without the unit tests: their temporary tables are more than fakesnow can do.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import dlt

from enrow_source import enrow_source
from enrow_source.testing import SimulatedEnrow
from tests.destinations import servers
from tests.destinations.environments import REPOSITORY
from tests.destinations.legs import snowflake_at


def main(dbt: str, folder: Path) -> int:
    """Return dbt's exit code."""
    with servers.fakesnow() as port, SimulatedEnrow() as api:
        ids = [
            api.add_completed("spring", 40, custom={"campaign": "spring"}),
            api.add_completed("none-found", 4, 0.0),
            api.add_ongoing("ongoing", None, 5),
            api.add_failed("failed"),
            "nobody-knows",
        ]
        destination = snowflake_at(port)()
        pipeline = dlt.pipeline("enrow", destination=destination, dataset_name="enrow_data", pipelines_dir=str(folder))
        pipeline.run(enrow_source(ids, enrow_api_key=api.api_key, enrow_base_url=api.url))
        target = {"type": "snowflake", "account": "fakesnow", "host": "127.0.0.1", "port": port, "protocol": "http"}
        target |= {"user": "fake", "password": "snow", "database": "WAREHOUSE", "schema": "ENROW", "warehouse": "W"}
        profile = {"enrow": {"target": "fakesnow", "outputs": {"fakesnow": {**target, "threads": 1}}}}
        (folder / "profiles.yml").write_text(json.dumps(profile), encoding="utf-8")
        command = [dbt, "--no-use-colors", "build", "--exclude", "test_type:unit", "--profiles-dir", str(folder)]
        command += ["--target-path", str(folder / "target"), "--log-path", str(folder / "logs")]
        return subprocess.run(command, cwd=REPOSITORY / "dbt", env=os.environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
