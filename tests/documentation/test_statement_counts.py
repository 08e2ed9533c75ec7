"""The page on destinations says what a scheduled run sends, as the clients' own logs have it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.destinations.environments import python_of
from tests.destinations.statements import RUNS
from tests.destinations.targets import TARGETS
from tests.support import REPOSITORY

NAMES = ("postgres", "snowflake", "bigquery")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_the_statements_of_a_run(name: str) -> None:
    environment = TARGETS[name].environment
    python = Path(sys.executable) if environment is None else python_of(environment)
    command = [str(python), "-m", "tests.destinations.statements", name]
    ended = subprocess.run(command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    counted = json.loads(ended.stdout)
    page = (REPOSITORY / "docs" / "destinations.md").read_text(encoding="utf-8")
    for run in RUNS:
        (row,) = re.findall(rf"^\| {re.escape(run)} \| (.*) \|$", page, re.MULTILINE)
        said = dict(zip(NAMES, row.split(" | "), strict=True))[name]
        assert said == ", ".join(map(str, counted[run])), f"{name}, {run}: {counted[run]}"
