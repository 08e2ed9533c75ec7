"""The image and what schedules it, without Docker: their commands, options and files are those of the wheel."""

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from enrow_source.testing import SimulatedEnrow
from tests.support import REPOSITORY
from tests.support.postgres import Postgres
from tests.support.uv import uv, uv_cached
from tests.support.wheel import Installation

pytest_plugins = ("tests.support.postgres", "tests.support.wheel")

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
CRONJOB = (REPOSITORY / "pipelines" / "cronjob.yaml").read_text(encoding="utf-8")
SCHEDULES = ("crontab", "github-actions.yml", "cronjob.yaml")


def instructions(name: str) -> list[str]:
    """Return what follows a keyword of the Dockerfile, in the order of the file."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load(CRONJOB)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def calls(schedule: str) -> list[list[str]]:
    """Return the arguments of each call of `enrow` in a file of `pipelines/`."""
    text = (REPOSITORY / "pipelines" / schedule).read_text(encoding="utf-8")
    if schedule == "cronjob.yaml":
        return [container["args"] for container in pod()["containers"]]
    return [shlex.split(found) for found in re.findall(r"\benrow (run .*)$", text, re.MULTILINE)]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """What `docker build` has: the files that .dockerignore lets in and that the Dockerfile copies."""
    folder = tmp_path / "src"
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split()
    for arguments in instructions("COPY"):
        *sources, target = arguments.split()
        for source in sources:
            assert f"!{source}" in ignored
            if (REPOSITORY / source).is_dir():
                leave_out = shutil.ignore_patterns("__pycache__")
                shutil.copytree(REPOSITORY / source, folder / target, ignore=leave_out)
            else:
                (folder / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / source, folder / target)
    return folder


@pytest.fixture
def image(context: Path, tmp_path: Path) -> Installation:
    """Install as the Dockerfile does."""
    locked, package, *_ = (shlex.split(command.split(" && ")[0]) for command in instructions("RUN"))
    assert locked[:3] == package[:3] == ["pip", "install", "--no-cache-dir"]
    image = Installation(tmp_path / "image")
    uv("venv", "--quiet", "--python", sys.executable, str(image.folder))
    for arguments in ([*locked[3:-1], str(context / locked[-1])], [*package[3:-1], str(context)]):
        uv_cached("pip", "install", "--quiet", "--python", str(image.python), *arguments)
    return image


def test_the_image_gets_the_whole_package(context: Path, wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=context, check=True, capture_output=True)
    assert zipfile.ZipFile(tmp_path / wheel.name).namelist() == zipfile.ZipFile(wheel).namelist()


def test_the_image_does_not_run_as_root() -> None:
    assert instructions("ENTRYPOINT") == ['["enrow"]']
    (user,) = instructions("USER")
    assert user == str(pod()["securityContext"]["runAsUser"]) != "0"
    assert f"--uid {user} " in DOCKERFILE
    assert pod()["securityContext"]["runAsNonRoot"]


def test_the_cron_job_writes_to_its_volume_alone() -> None:
    (container,) = pod()["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    (volume,) = container["volumeMounts"]
    assert volume["mountPath"] == instructions("WORKDIR")[-1]
    folders = dict(setting.split("=") for setting in instructions("ENV")[0].split())
    assert {"DLT_DATA_DIR", "HOME", "TMPDIR"} <= folders.keys()
    assert all(Path(folder).is_relative_to(volume["mountPath"]) for folder in folders.values())


def test_no_two_cron_jobs_overlap() -> None:
    spec = yaml.safe_load(CRONJOB)["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert pod()["restartPolicy"] == "Never"
    (deadline,) = [arg.partition("=")[2] for arg in calls("cronjob.yaml")[0] if arg.startswith("--deadline-s=")]
    assert pod()["terminationGracePeriodSeconds"] > 30  # Kubernetes' default
    assert float(deadline) < 15 * 60


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_call_what_the_wheel_has(schedule: str, installed: Installation, tmp_path: Path) -> None:
    for command, *arguments in calls(schedule):
        shown = installed.run(tmp_path, "enrow", command, "--help").stdout
        options = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
        assert options
        assert options <= set(re.findall(r"--[a-z-]+", shown))


@pytest.mark.slow
def test_the_cron_job_runs(image: Installation, api: SimulatedEnrow, postgres: Postgres, tmp_path: Path) -> None:
    """The arguments and the variables of the file load batches whose ids are in Postgres into Postgres."""
    data = tmp_path / "data"
    data.mkdir()
    postgres.query("DROP SCHEMA IF EXISTS enrow_data CASCADE")
    postgres.query("DROP TABLE IF EXISTS sent")
    postgres.query("CREATE TABLE sent AS SELECT %s AS batch_id, now() AS sent_at", api.add_completed("batch-1", 5))
    values = {
        "ENROW_API_KEY": api.api_key,
        "DESTINATION__POSTGRES__CREDENTIALS": postgres.url,
        "SOURCES__ENROW__BATCH_IDS_DATABASE": postgres.url.replace("postgresql", "postgresql+psycopg2", 1),
    }
    schemes = dict(re.findall(r"--from-literal=(\w+)=(\S+?:)?", CRONJOB))
    assert schemes.keys() == values.keys()
    assert all(value.startswith(schemes[name]) for name, value in values.items())
    folders = {
        name: folder.replace("/data", str(data))
        for name, folder in (setting.split("=") for setting in instructions("ENV")[0].split())
    }
    (arguments,) = calls("cronjob.yaml")
    image.run(data, "enrow", *arguments, "--base-url", api.url, env=values | folders)
    assert postgres.query("SELECT count(*) FROM enrow_data.phone_results") == [{"count": 5}]
