"""The simulated API as a command and as a package."""

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from enrow_source import testing
from enrow_source.testing import SimulatedEnrow, bodies, demo_batches
from tests.support import REPOSITORY
from tests.testing.calls import DOCUMENTED_ID, get


def test_demo_batches_do_what_they_say(api: SimulatedEnrow) -> None:
    shown = demo_batches(api)

    seen = {}
    for batch_id in shown:
        if batch_id == "demo-cut-off":
            with pytest.raises(requests.RequestException):
                get(api, batch_id)
        seen[batch_id] = [get(api, batch_id) for _ in range(3)]

    def outcome(answer: requests.Response) -> str:
        body = answer.json()
        return str(body["general"]["status"] if answer.ok else answer.status_code)

    expected_outcomes = {
        "finished": ["completed"] * 3,
        "in progress for 2 fetches, then finished": ["ongoing", "ongoing", "completed"],
        "in progress at every fetch": ["ongoing"] * 3,
        "202 while in progress for 2 fetches, then finished": ["ongoing", "ongoing", "completed"],
        "failed": ["failed"] * 3,
        "readable once, then expired": ["completed", "400", "400"],
        "status done": ["done"] * 3,
        "400": ["400"] * 3,
        "402": ["402"] * 3,
        "404": ["404"] * 3,
        "429": ["429", "completed", "completed"],
        "500": ["500", "completed", "completed"],
    }
    for batch_id, answers in seen.items():
        text = shown[batch_id]
        expected = [outcomes for start, outcomes in expected_outcomes.items() if text.startswith(start)]
        assert [outcome(answer) for answer in answers] == (expected or [["completed"] * 3])[0], batch_id
    assert next(iter(shown)) == DOCUMENTED_ID
    assert len(seen["demo-3000"][0].json()["results"]) == 3000
    assert seen["demo-202"][0].status_code == 202


def test_command_serves_until_sigterm() -> None:
    command = [sys.executable, "-m", "enrow_source.testing", "--seed", "3", "--api-key", "k"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        printed = list(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
        url = printed[0].split()[-1]
        answer = requests.get(f"{url}/phone/bulk", {"id": "demo-none-found"}, headers={"x-api-key": "k"}, timeout=30)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()

    assert answer.json() == bodies.completed("demo-none-found", 10, 0.0, seed=3)
    assert any("demo-rate-limited  " in line for line in printed)
    assert "  export ENROW_API_KEY=k\n" in printed
    assert any(line.startswith(f"  enrow run --base-url {url} ") for line in printed)
    assert (process.returncode, err) == (0, "")


def test_no_code_is_shared_with_the_connector() -> None:
    package = Path(testing.__file__).parent
    for module in package.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom):
                outside = node.level == 0 and (node.module or "").split(".")[0] not in sys.stdlib_module_names
                assert not outside, (module, node.module)
                assert node.level <= 1, (module, node.module)
            if isinstance(node, ast.Import):
                assert all(name.name.split(".")[0] in sys.stdlib_module_names for name in node.names), module
