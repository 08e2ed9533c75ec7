"""Batch ids from configuration and environment."""

from pathlib import Path
from typing import Any

import pytest

from enrow_source import ConfigurationError, batch_ids_from_query, enrow_source
from enrow_source.testing import SimulatedEnrow
from tests.conftest import NewSource
from tests.support.warehouse import Warehouse


def test_everything_can_stand_in_the_configuration(
    tmp_path: Path, api: SimulatedEnrow, warehouse: Warehouse, configure: Any
) -> None:
    (tmp_path / "ids.txt").write_text(api.add_completed("a", 1))
    configure(
        config=f'[sources.enrow]\nenrow_base_url = "{api.url}"\nbatch_ids_file = ["ids.txt"]\n'
        "batch_ids_query = \"SELECT 'b' AS id\"\n",
        secrets=f'[sources.enrow]\nenrow_api_key = "{api.api_key}"\n',
    )
    api.add_completed("b", 1)
    warehouse.run(enrow_source())
    assert [api.fetches("a"), api.fetches("b")] == [1, 1]


@pytest.mark.parametrize("value", ["ids.txt", '["ids.txt"]'])
def test_files_can_be_named_in_the_environment(
    tmp_path: Path, api: SimulatedEnrow, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    (tmp_path / "ids.txt").write_text(api.add_completed("a", 1))
    monkeypatch.setenv("SOURCES__ENROW__BATCH_IDS_FILE", value)
    warehouse.run(enrow_source(enrow_api_key=api.api_key, enrow_base_url=api.url))
    assert api.fetches("a") == 1


def test_a_list_of_files_that_is_none_is_named(new_source: NewSource) -> None:
    with pytest.raises(ConfigurationError, match="batch_ids_file is"):
        new_source(batch_ids_file='["ids.txt"')


def test_the_errors_are_configuration_errors() -> None:
    with pytest.raises(ConfigurationError):
        batch_ids_from_query("SELECT 1", cursor=" ")
