"""The README and the guides are true: commands and snippets run, settings exist, queries answer."""

import ast
import copy
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.destination import Destination

from benchmarks import page
from enrow_source import build_pipeline, enrow_source, run
from enrow_source.cli import COMMANDS, main
from enrow_source.testing import SimulatedEnrow
from tests.destinations.targets import TARGETS
from tests.support import REPOSITORY

README = REPOSITORY / "README.md"
GUIDES = sorted((REPOSITORY / "docs").glob("*.md"))
RUN_ELSEWHERE = {
    "make demo": "test_ci_runs_the_commands_of_the_readme",
    "make test": "test_ci_runs_the_commands_of_the_readme",
    "export ENROW_API_KEY=...": "the fixture sets it",
    "pip install .": "tests/install/test_wheel.py",
}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedEnrow]:
    """Serve the documented batch, with an empty folder as the working directory and the key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    with SimulatedEnrow() as running:
        monkeypatch.setenv("ENROW_API_KEY", running.api_key)
        monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", running.url)
        running.add_documented()
        yield running


def blocks(file: Path, language: str) -> list[str]:
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", file.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [inspect.cleandoc(block) for block in found]


def commands(file: Path) -> list[str]:
    return [line for block in blocks(file, "sh") for line in block.splitlines()]


def test_the_readme_is_short() -> None:
    """What a newcomer needs first is on the first screen."""
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(" ".join(lines).split()) <= 1200
    assert {"make demo", "make test"} <= set(lines[:30])
    assert "```python" in lines[:40]


def test_readme_commands_run(api: SimulatedEnrow, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.add_completed("submitted", 3)
    (tmp_path / "ids.txt").write_text(api.add_ongoing("other", 1, 3) + "\n", encoding="utf-8")
    (tmp_path / "leads.csv").write_text("linkedin_url\nhttps://www.linkedin.com/in/alma-marlow\n", encoding="utf-8")
    for command in commands(README):
        if command in RUN_ELSEWHERE:
            continue
        program, *arguments = shlex.split(command.replace("BATCH_ID", "submitted"))
        assert program == "enrow", command
        assert main(arguments) == 0, capsys.readouterr().err
    assert (tmp_path / "warehouse.duckdb").exists()


def test_ci_runs_the_commands_of_the_readme() -> None:
    ci = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "make demo" in ci
    assert "make test" in ci
    assert re.search(r"^test-all: test\b", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("file", GUIDES, ids=lambda file: file.stem)
def test_guide_commands_exist(file: Path) -> None:
    """Every command, option, make target and module that a guide names exists."""
    targets = re.findall(r"^(\w[\w-]*):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for command in commands(file):
        program, *arguments = shlex.split(command)
        if program == "enrow":
            assert arguments[0] in COMMANDS
            # Read, not imported: `backfill` needs dask, which is in an environment of its own.
            modules = [REPOSITORY / "enrow_source" / "cli" / f"{name}.py" for name in (arguments[0], "arguments")]
            source = "".join(module.read_text(encoding="utf-8") for module in modules)
            options = [argument for argument in arguments if re.match(r"--\w", argument)]
            assert [option for option in options if f'"{option}"' not in source] == []
        elif program == "make":
            assert arguments[0] in targets
        elif program == "docker":
            assert arguments[0] in ("build", "run")
        elif program == ".venv/bin/python":
            assert arguments[0] == "-m"
            assert find_spec(arguments[1])
        else:
            assert program in ("pip", "export"), command


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(README, id="README"),
        pytest.param(REPOSITORY / "docs" / "quick-start.md", id="quick-start", marks=pytest.mark.slow),
    ],
)
def test_snippets_run(file: Path, api: SimulatedEnrow) -> None:
    for snippet in blocks(file, "python"):
        exec(compile(snippet, file.name, "exec"), {})  # noqa: S102 - our own page
    assert api.requests


def test_settings_of_the_configuration_page_exist() -> None:
    options = inspect.signature(enrow_source).parameters.keys() - {"unknown_options"}
    for block in blocks(REPOSITORY / "docs" / "configuration.md", "toml"):
        assert tomllib.loads(block).get("sources", {}).get("enrow", {}).keys() <= options


def test_settings_of_the_destinations_exist() -> None:
    """dlt reads the settings of the page, and each emulated target is listed."""
    file = REPOSITORY / "docs" / "destinations.md"
    settings = [tomllib.loads(block)["destination"] for block in blocks(file, "toml")]
    names = {"duckdb", "postgres", "snowflake", "bigquery", "filesystem"}
    assert {name for one in settings for name in one} == names
    for name, configured in (item for one in settings for item in one.items()):
        destination = Destination.from_reference(name)
        assert destination is not None
        hinted = destination.spec.get_resolvable_fields()["credentials"]
        known = {field for kind in [hinted, *get_args(hinted)] for field in fields_of(kind)}
        assert set(configured.get("credentials", {})) <= known
    targets = re.findall(r"^\| `([\w-]+)` \|.*--real` \|$", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert {target.name for target in TARGETS.values() if target.emulated} == set(targets)


def fields_of(kind: object) -> set[str]:
    """Return the settings of a kind of credentials, or of a union of kinds."""
    if isinstance(kind, type) and issubclass(kind, BaseConfiguration):
        return set(kind.get_resolvable_fields())
    return {field for one in get_args(kind) for field in fields_of(one)}


def test_monitoring_queries_answer(api: SimulatedEnrow) -> None:
    """Each query finds the batch that has the trouble it asks for, and no other."""
    wrong = {"general": {"id": "wrong", "status": "completed"}, "stats": {"requested": 3, "found": 1}, "results": []}
    api.add_completed("was-fine", 2)
    api.respond("wrong", wrong)
    pipeline = build_pipeline("duckdb")
    for _ in range(2):
        pipeline.run(enrow_source(["was-fine", "nobody-knows", "wrong"]))
    run([api.add_ongoing("stuck", None)], pipeline=pipeline, trigger="cron")
    runs, pending, disagreeing, billed, unreadable, prune = blocks(REPOSITORY / "docs" / "monitoring.md", "sql")
    with pipeline.sql_client() as client:
        assert [row[:3] for row in client.execute_sql(runs) or []] == [("cron", "ok", 1)]
        assert [row[:2] for row in client.execute_sql(pending) or []] == [("stuck", "ongoing")]
        assert client.execute_sql(disagreeing) == [("wrong", 3, 0, 1, 0, None)]
        ((batch_id, since, last_tried, tries),) = client.execute_sql(unreadable) or []
        assert (batch_id, tries) == ("nobody-knows", 2)
        assert since < last_tried
        assert client.execute_sql(billed) == []
        client.execute_sql(prune)
        assert client.execute_sql("SELECT count(*) FROM batch_errors") == [(2,)]


def test_messages_of_the_troubleshooting_page_exist() -> None:
    """What the page quotes is what the package says, or dlt."""
    of_others = {"Setting add_limit to a transformer", "No module named", "extension", "delta"}
    texts = list(_texts(REPOSITORY / "enrow_source"))
    rows = re.findall(r"^\| (.*?) \|", (REPOSITORY / "docs" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    quoted = {quote for row in rows for quote in re.findall(r"(?:^| )'([^`]+?)'(?=[ ,]|$)", row)} - of_others
    assert len(quoted) > 20
    parts = {quote: [part.strip() for part in re.split(r"\.\.\.|\S*:3(?= )|<.*?>", quote)] for quote in quoted}
    assert [q for q, found in parts.items() if not any(all(one in text for one in found) for text in texts)] == []


def _texts(folder: Path) -> Iterator[str]:
    """Yield the texts in the code; what is formatted into one is left out."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else " " for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_speed_is_what_was_measured() -> None:
    results = page.read_results()
    marked = page.MARKS.search(README.read_text(encoding="utf-8"))
    assert marked is not None
    assert marked[0] == page.paragraph(results), "run: python -m benchmarks.page"
    assert page.PAGE.read_text(encoding="utf-8") == page.page(results), "run: python -m benchmarks.page"


@pytest.mark.parametrize("is_met", [False, True])
def test_the_page_of_any_figures(is_met: bool) -> None:
    """The page is written at the end of a measurement of half an hour, whatever was measured."""
    results = copy.deepcopy(page.read_results())
    assert results is not None
    workloads = set()
    for outcome in results["full"]["workloads"].values():
        for figure in outcome["figures"]:
            figure["target"] = 1e9 if is_met == (figure["bound"] == "at most") else -1
            workloads.add(figure["workload"])
    missed = page.page(results).partition("### What stands in the way")[2].partition("## Where the CPU time")[0]
    assert {workload for workload in workloads if f"**{workload}**" in missed} == (set() if is_met else workloads)
