"""Fields of a search that are undocumented and name a person, as clients send them: `first_name`, `email`, ..."""

from typing import Any

import pytest

from enrow_source import Subject, SubjectKind, erase
from enrow_source.tables.privacy import Privacy
from enrow_source.tables.schema import PERSONAL_PARAMS
from enrow_source.testing import SimulatedEnrow, bodies
from tests.conftest import NewSource
from tests.support.warehouse import Warehouse

SENT = {"first_name": "Alma", "last_name": "Marlow", "fullname": "Alma Marlow", "email": "alma@enrow.example"}


def add(api: SimulatedEnrow, params: dict[str, Any]) -> str:
    body = bodies.completed("batch-1", 1)
    body["results"][0]["params"] = params
    api.respond("batch-1", body)
    return "batch-1"


def personal(warehouse: Warehouse) -> set[str]:
    columns = warehouse.pipeline().default_schema.tables["phone_results"]["columns"]
    return {name for name, column in columns.items() if "data_type" in column and column.get("x-personal-data")}


def test_they_are_marked(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.run(new_source([add(api, SENT)]))
    assert {f"params__{name}" for name in SENT} <= personal(warehouse)
    assert caplog.text == ""


def test_columns_exist_only_for_what_arrives(
    api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.run(new_source([add(api, {"firstname": "Alma"})]))
    assert not {f"params__{name}" for name in PERSONAL_PARAMS} & set(warehouse.columns("phone_results"))
    assert caplog.text == ""


@pytest.mark.parametrize("pii, secret", [("hash", "a secret of sixteen"), ("drop", None)])
def test_they_are_not_in_clear(
    pii: str, secret: str | None, api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse
) -> None:
    warehouse.run(new_source([add(api, SENT)], pii=pii, pii_secret=secret))
    (row,) = warehouse.rows("phone_results")
    assert not set(SENT.values()) & set(row.values())


def test_who_is_erased_is_known_by_them(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    """A person who is erased by a number, and was searched for by such names, is recorded as that person."""
    secret = "a secret of sixteen"
    body = bodies.completed("batch-1", 1)
    params = {"first_name": "Alma", "last_name": "Marlow", "company_domain": "amber.example"}
    body["results"][0] |= {"params": params, "qualification": "found", "number": "+12025550123"}
    api.respond("batch-1", body)
    warehouse.run(new_source(["batch-1"]))
    erase(warehouse.pipeline(), Subject(SubjectKind.NUMBER, "+12025550123"), execute=True, pii_secret=secret)
    rows = warehouse.sql("SELECT subject_hash FROM enrow_erasures WHERE subject = 'person'")
    assert rows == [(Privacy(secret=secret).keyed_hash("alma marlow @ amber.example"),)]
