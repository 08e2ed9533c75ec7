"""Each schedule executed: Dagster's job, sensor and schedule, Airflow's DAG, the cron line, the workflow's steps."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import yaml

from enrow_source.testing import SimulatedEnrow, bodies
from tests.support import REPOSITORY
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)
pytestmark = pytest.mark.timeout(300)

SCHEDULES = REPOSITORY / "pipelines"
_WITH_ENROW = f"{Path(sys.executable).parent}:/usr/bin:/bin"
EVENT = {"event": "bulk_phone_search_finished", "credits": {"cost": 40}}
TICK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import dagster as dg
import dagster_enrow as enrow
first = dg.build_sensor_context(cursor=None)
asked = enrow.events_arrived(first)
again = enrow.events_arrived(dg.build_sensor_context(cursor=first.cursor))
print(json.dumps([type(asked).__name__, type(again).__name__, enrow.every_15_minutes.cron_schedule]))
"""


def called(*command: str, env: dict[str, str], cwd: Path | None = None) -> str:
    ended = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=250, check=False)
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-5000:]
    return ended.stdout + ended.stderr


def test_dagster_loads_the_events_batches(
    orchestration: Path, environ: dict[str, str], api: SimulatedEnrow, tmp_path: Path
) -> None:
    """Dagster loads the batches that the events name and checks the credits."""
    # The bill may be gross of refunds: nobody documents it.
    agreed, short = bodies.completed("batch-1", 10, gross_cost=True), bodies.completed("batch-2", 10)
    short["stats"]["requested"] += 1
    api.respond("batch-1", agreed)
    api.respond("batch-2", short)
    events, home = tmp_path / "events", tmp_path / "dagster"
    events.mkdir()
    home.mkdir()
    (home / "dagster.yaml").write_bytes((SCHEDULES / "dagster.yaml").read_bytes())
    for body in (agreed, short):
        batch_id = body["general"]["id"]
        (events / f"{batch_id}.json").write_text(json.dumps(EVENT | {"id": batch_id}), encoding="utf-8")
    environ |= {"DAGSTER_HOME": str(home), "ENROW_EVENTS": str(events)}
    message = called(
        str(orchestration / "dagster"), "job", "execute", "-f", str(SCHEDULES / "dagster_enrow.py"), "-j", "enrow",
        env=environ,
    )  # fmt: skip
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM enrow_data.phone_results").fetchall() == [(20,)]
    checks = {
        line.split("'")[1]: line for line in message.splitlines() if "ASSET_CHECK_EVALUATION - Asset check" in line
    }
    assert "did not pass" in checks["counts_agree"], message[-3000:]
    assert "passed" in checks["credits_agree"]
    ticked = called(str(orchestration / "python"), "-c", TICK, str(SCHEDULES), env=environ)
    assert json.loads(ticked.splitlines()[0]) == ["RunRequest", "SkipReason", "*/15 * * * *"]


def test_airflow_loads_the_shards_in_mapped_tasks(
    airflow: Path, environ: dict[str, str], api: SimulatedEnrow, postgres: Postgres, tmp_path: Path
) -> None:
    postgres.query("DROP SCHEMA IF EXISTS enrow_data CASCADE")
    ids = [api.add_completed(f"batch-{number}", results=5) for number in range(12)]
    (tmp_path / "ids.txt").write_text("\n".join(ids), encoding="utf-8")
    environ |= {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(SCHEDULES),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "DESTINATION__POSTGRES__CREDENTIALS": postgres.url,
        "SOURCES__ENROW__BATCH_IDS_FILE": str(tmp_path / "ids.txt"),
    }
    called(str(airflow / "airflow"), "db", "migrate", env=environ)
    message = called(str(airflow / "python"), str(SCHEDULES / "airflow_enrow.py"), env=environ)
    assert "success" in message.splitlines()[-1] or "\nsuccess\n" in message, message[-3000:]
    assert postgres.query("SELECT count(*) FROM enrow_data.phone_results") == [{"count": 60}]
    assert [api.fetches(batch_id) for batch_id in ids] == [1] * 12
    pipelines = postgres.query("SELECT DISTINCT pipeline_name FROM enrow_data._dlt_pipeline_state")
    assert {row["pipeline_name"] for row in pipelines} >= {f"enrow_{number}_of_4" for number in range(1, 5)}


def test_cron_leaves_out_an_overlapping_run(environ: dict[str, str], api: SimulatedEnrow, tmp_path: Path) -> None:
    """The cron line loads, and leaves a run out while another one works."""
    (tmp_path / "ids.txt").write_text(api.add_completed("batch-1", results=5), encoding="utf-8")
    lines = (SCHEDULES / "crontab").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("*"))
    minutes, command = line.split()[0], line.split(maxsplit=5)[5]
    assert minutes == "*/15"
    environ |= {"PATH": _WITH_ENROW, "FOLDER": str(tmp_path), "LOCK": str(tmp_path / "lock")}
    held = f"exec 9>{shlex.quote(environ['LOCK'])}; flock 9; ( {command} ) 9>&-"
    left_out = subprocess.run(["/bin/sh", "-c", held], env=environ, timeout=100, check=False)
    assert left_out.returncode == 1
    assert not api.requests
    called("/bin/sh", "-c", command, env=environ)
    assert api.fetches("batch-1") == 1


def test_the_workflow_runs_and_one_at_a_time(
    environ: dict[str, str], api: SimulatedEnrow, postgres: Postgres, tmp_path: Path
) -> None:
    postgres.query("DROP SCHEMA IF EXISTS enrow_data CASCADE")
    (tmp_path / "ids.txt").write_text(api.add_completed("batch-1", results=5), encoding="utf-8")
    workflow = yaml.safe_load((SCHEDULES / "github-actions.yml").read_text(encoding="utf-8"))
    assert workflow["concurrency"] == {"group": "enrow-phone-bulk", "cancel-in-progress": False}
    (job,) = workflow["jobs"].values()
    secrets = {"secrets.ENROW_API_KEY": api.api_key, "secrets.WAREHOUSE": postgres.url}
    environ |= {"PATH": _WITH_ENROW} | {name: secrets[value.strip("${} ")] for name, value in job["env"].items()}
    install, load = (step["run"] for step in job["steps"] if "run" in step)
    assert install in (REPOSITORY / "docs" / "destinations.md").read_text(encoding="utf-8")
    called("/bin/bash", "-e", "-c", load, env=environ, cwd=tmp_path)
    assert postgres.query("SELECT count(*) FROM enrow_data.phone_results") == [{"count": 5}]
