"""A failed run says what to do, where the error of the database does not."""

import re
from typing import Any

import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source import ConfigurationError, ExitCode, build_pipeline, run
from enrow_source.cli import main
from enrow_source.runner.causes import root_cause
from enrow_source.testing import SimulatedEnrow
from tests.conftest import NewSource

pytestmark = pytest.mark.usefixtures("held_open")


def change(statement: str) -> None:
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute(f"USE enrow_data; {statement}")


class Loads:
    """Loads one more batch each time."""

    def __init__(self, api: SimulatedEnrow) -> None:
        self.api, self.count = api, 0

    def __call__(self, **options: Any) -> None:
        self.count += 1
        batch_id = self.api.add_completed(f"batch-{self.count}", 2)
        run([batch_id], enrow_api_key=self.api.api_key, enrow_base_url=self.api.url, **options)


@pytest.fixture
def load(api: SimulatedEnrow) -> Loads:
    return Loads(api)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE phone_results RENAME COLUMN number TO phone",
        "ALTER TABLE batches DROP COLUMN status",
        *(
            pytest.param(f"ALTER TABLE {table} DROP COLUMN {column}", marks=pytest.mark.slow)
            for table, column in (("phone_results", "country"), ("batch_stats", "credits_cost"), ("batches", "custom"))
        ),
    ],
)
def test_a_change_of_the_tables_names_its_remedy(statement: str, load: Loads) -> None:
    """The remedy is run as it is written, and the next run succeeds."""
    load()
    change(statement)
    with pytest.raises(PipelineStepFailed) as caught:
        load()
    (note,) = caught.value.__notes__
    changed = re.findall(r"\w+", statement)[2]
    assert changed in note
    remedy = re.search(r"(?:ALTER TABLE|DELETE FROM) .*$", note)
    assert remedy is not None
    change(remedy[0])
    load()


def test_the_command_prints_the_remedy(load: Loads, capsys: pytest.CaptureFixture[str], api: SimulatedEnrow) -> None:
    load()
    change("ALTER TABLE phone_results DROP COLUMN country")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENROW_API_KEY", api.api_key)
        assert main(["run", api.add_completed("more", 1), "--base-url", api.url]) == ExitCode.FAILED
    assert "has no column country any more: rename it back, or add it again: ALTER TABLE" in capsys.readouterr().err


def test_other_failures_have_no_note(load: Loads, api: SimulatedEnrow) -> None:
    load()
    with pytest.raises(PipelineStepFailed) as caught:
        run(["a"], enrow_api_key="refused-key", enrow_base_url=api.url)
    assert not getattr(caught.value, "__notes__", [])


@pytest.mark.parametrize(
    "query",
    [
        "SELECT nonsense AS batch_id FROM batches",
        pytest.param("SELECT 1 / 'a' AS batch_id", marks=pytest.mark.slow),
    ],
)
def test_an_error_of_a_query_names_the_option(query: str, load: Loads) -> None:
    load()
    with pytest.raises(PipelineStepFailed) as caught:
        load(batch_ids_query=query)
    assert any("batch_ids_query" in text for text in [*getattr(caught.value, "__notes__", []), str(caught.value)])


@pytest.mark.parametrize(
    "options, named",
    [
        ({"primary_key": "batch_id"}, "primary_key of phone_results is batch_id: leave it out"),
        ({"primary_key": ("batch_id", "index")}, "primary_key of batches is batch_id, index: leave it out"),
        ({"table_name": "everything"}, "table_name of"),
    ],
)
def test_keys_of_the_caller_are_refused(
    options: dict[str, Any], named: str, new_source: NewSource, api: SimulatedEnrow
) -> None:
    """`primary_key="batch_id"` left one row of each batch; dlt takes it along with the merge key."""
    with pytest.raises(PipelineStepFailed) as caught:
        build_pipeline().run(new_source(["a"]), **options)
    assert isinstance(root_cause(caught.value), ConfigurationError)
    assert named in str(caught.value)
    assert api.requests == []
