"""What people do to the resources of any dlt source: it works, or is refused with what to do, before any request."""

from collections.abc import Callable

import pyarrow as pa
import pytest
from dlt.extract import DltSource
from dlt.pipeline.exceptions import PipelineStepFailed

from enrow_source.testing import SimulatedEnrow
from tests.conftest import NewSource
from tests.support.warehouse import Warehouse


def found_alone(table: pa.Table) -> pa.Table:
    """Keep what was found."""
    return table.filter(pa.compute.equal(table["qualification"], "found")) if "number" in table.column_names else table


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.phone_results.add_map(lambda row: {**row, "tier": 1}), "phone_results gets Arrow tables in place"),
        (lambda s: s.phone_results.add_filter(lambda row: row["country"] == "US"), "choose rows in SQL after the load"),
        (lambda s: s.batches.add_yield_map(lambda row: [row]), "batches gets Arrow tables"),
    ],
    ids=["map", "filter", "yield_map"],
)
def test_what_expects_rows_is_refused(
    change: Callable[[DltSource], object],
    message: str,
    api: SimulatedEnrow,
    new_source: NewSource,
    warehouse: Warehouse,
) -> None:
    source = new_source([api.add_completed("a", 2)])
    change(source)
    with pytest.raises(PipelineStepFailed, match=message):
        warehouse.run(source)
    assert not api.requests


def test_a_function_of_tables_is_called(api: SimulatedEnrow, new_source: NewSource, warehouse: Warehouse) -> None:
    source = new_source([api.add_completed("a", 10)])
    source.phone_results.add_map(found_alone)
    warehouse.run(source)
    assert warehouse.sql("SELECT DISTINCT qualification FROM phone_results") == [("found",)]
    assert warehouse.sql("SELECT batch_id FROM phone_results_ledger") == [("a",)]
