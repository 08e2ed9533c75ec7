"""The README is true: its tables are the declared ones, and its commands and queries run."""

import inspect
import json
import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import dlt
import pytest
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.destination import Destination

from benchmarks import page
from enrow_source import enrow_source
from enrow_source.errors import ErrorKind
from enrow_source.settings import BASE_URL, CONNECTIONS, GIVE_UP_AFTER, MAX_RESPONSE_MB
from enrow_source.tables import DEFERRED_BATCH_IDS, TABLES, Table
from enrow_source.testing import SimulatedEnrow
from pipelines import check, erase, phone_bulk
from pipelines.report import ExitCode
from tests.destinations.legs import LEGS

REPO = Path(__file__).parent.parent
README = (REPO / "README.md").read_text(encoding="utf-8")
COMMANDS = {
    "pipelines/phone_bulk.py": phone_bulk.main,
    "pipelines/erase.py": erase.main,
    "pipelines/check.py": check.main,
}
RUN_ELSEWHERE = {
    "make demo": "test_ci_runs_what_the_readme_names",
    "make test": "test_ci_runs_what_the_readme_names",
    "export ENROW_API_KEY=...": "every run of the command below sets it",
    "pip install .": "tests/test_wheel.py",
    ".venv/bin/python -m enrow_source.testing": "tests/test_testing.py",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def rendered(table: Table) -> str:
    key = (
        "A batch is replaced as a whole" if table.replaces_batches else "Key: " + ", ".join(f"`{n}`" for n in table.key)
    )
    lines = [f"### `{table.name}`", "", f"{table.description} {key}.", "", "| column | type | | meaning |"]
    lines.append("|---|---|---|---|")
    for column in table.columns:
        nullable = ("" if column.nullable else "not null") + ("🔒" if column.is_personal else "")
        lines.append(f"| `{column.name}` | {column.data_type} | {nullable} | {column.description} |")
    return "\n".join(lines)


def test_the_tables_are_the_declared_ones() -> None:
    expected = "\n\n".join(rendered(table) for table in (*TABLES, DEFERRED_BATCH_IDS))
    found = re.search(r"<!-- tables: .*? -->\n(.*?)<!-- /tables -->", README, re.DOTALL)
    assert found is not None
    assert found[1].strip() == expected, f"put this between the marks in README.md:\n\n{expected}\n"


def test_every_option_is_told_with_its_default() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \|(.*?)\| .*? \|$", README.split("### Options")[1], re.MULTILINE))
    options = inspect.signature(enrow_source).parameters.keys() - {"batch_ids", "unknown_options"}
    assert {name: told[name].strip() for name in options} == {
        "enrow_api_key": "required",
        "enrow_base_url": f"`{BASE_URL}`",
        "max_batches": "no limit",
        "retry_failed": "`false`",
        "connections": str(CONNECTIONS),
        "deadline_s": "no limit",
        "give_up_after": str(GIVE_UP_AFTER),
        "max_response_mb": str(MAX_RESPONSE_MB),
        "pii": "`keep`",
        "pii_secret": "",
        "shard": "",
        "batch_ids_file": "",
        "batch_ids_query": "",
        "batch_ids_cursor": "",
        "batch_ids_database": "",
        "stuck_after_h": "never",
        "stop": "",
        "progress": "",
    }


def test_every_kind_of_error_and_every_exit_code_is_told() -> None:
    told = re.findall(r"^\| `?(\w+)`? \|", README, re.MULTILINE)
    assert {kind.value for kind in ErrorKind} | {str(code.value) for code in ExitCode} <= set(told)


def test_ci_runs_what_the_readme_names() -> None:
    run = (REPO / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "make demo" in run
    assert "make test-all" in run
    assert re.search(r"^test-all: test\b", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    with SimulatedEnrow() as api:
        monkeypatch.setenv("ENROW_API_KEY", api.api_key)
        monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
        monkeypatch.setenv("SOURCES__ENROW__PII_SECRET", "a-secret-of-the-reader")
        api.add_completed("BATCH_ID", 3)
        (tmp_path / "ids").mkdir()
        (tmp_path / "ids.txt").write_text(api.add_ongoing("other", 1, 3) + "\n", encoding="utf-8")
        for command in commands:
            if command in RUN_ELSEWHERE:
                continue
            program, script, *arguments = shlex.split(command, comments=True)
            assert program == ".venv/bin/python", command
            assert COMMANDS[script](arguments) == ExitCode.OK, capsys.readouterr().err
    assert (tmp_path / "warehouse.duckdb").exists()


def test_the_page_of_destinations_is_true() -> None:
    """Its settings are such that dlt reads them, its commands exist, and each leg that is emulated is told."""
    page = (REPO / "docs" / "destinations.md").read_text(encoding="utf-8")
    settings = [tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)]
    assert {name for one in settings for name in one["destination"]} == {
        "duckdb",
        "postgres",
        "snowflake",
        "bigquery",
        "filesystem",
    }
    for one in settings:
        for name, configured in one["destination"].items():
            destination = Destination.from_reference(name)
            assert destination is not None
            spec = destination.spec
            given = set(configured.get("credentials", {}))
            hinted = spec.get_resolvable_fields()["credentials"]
            known = {field for kind in [hinted, *get_args(hinted)] for field in fields_of(kind)}
            assert given <= known, given - known
    assert {leg.name for leg in LEGS.values() if leg.emulated} == set(
        re.findall(r"^\| `([\w-]+)` \|.*--real` \|$", page, re.MULTILINE)
    )
    scripts = re.findall(r"^\.venv/bin/python (?:-m (\S+)|(\S+))", page, re.MULTILINE)
    assert all(find_spec(module) if module else (REPO / file).is_file() for module, file in scripts)


def fields_of(kind: object) -> set[str]:
    """Return the settings of a kind of credentials, also of those of several kinds."""
    if isinstance(kind, type) and issubclass(kind, BaseConfiguration):
        return set(kind.get_resolvable_fields())
    return {field for one in get_args(kind) for field in fields_of(one)}


def test_the_snippet_and_the_queries_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    (snippet,) = blocks("python")
    with SimulatedEnrow() as api:
        monkeypatch.setenv("ENROW_API_KEY", api.api_key)
        monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
        api.add_documented()
        names: dict[str, object] = {}
        exec(compile(snippet, "README.md", "exec"), names)  # noqa: S102 - our own README
        pipeline = names["pipeline"]
        assert isinstance(pipeline, dlt.Pipeline)
        # A batch that could be read once and then not, one that never could, and one whose counts disagree.
        api.add_completed("was-fine", 2)
        wrong = {
            "general": {"id": "wrong", "status": "completed"},
            "stats": {"requested": 3, "found": 1},
            "results": [],
        }
        api.respond("wrong", wrong)
        for _ in range(2):
            pipeline.run(enrow_source(["was-fine", "nobody-knows", "wrong"]))
        phone_bulk.run([api.add_ongoing("stuck", None)], pipeline=pipeline, trigger="cron")
    runs, stuck, unreadable, disagreeing = blocks("sql")
    with pipeline.sql_client() as client:
        ((batch_id, since, last_tried, tries),) = client.execute_sql(unreadable) or []
        assert (batch_id, tries) == ("nobody-knows", 2)
        assert since < last_tried
        assert [row[:3] for row in client.execute_sql(runs) or []] == [("cron", "ok", 1)]
        assert [row[:2] for row in client.execute_sql(stuck) or []] == [("stuck", "ongoing")]
        assert client.execute_sql(disagreeing) == [("wrong", 3, 0, 1, 0, None)]


def test_what_is_said_of_speed_is_what_was_measured() -> None:
    results = json.loads((REPO / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    told = page.MARKS.search(README)
    assert told is not None
    assert told[0] == page.paragraph(results), "run: python -m benchmarks.page"
    assert page.PAGE.read_text(encoding="utf-8") == page.page(results), "run: python -m benchmarks.page"
