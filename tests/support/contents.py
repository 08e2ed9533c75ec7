"""What the tables hold, in short, and what they should hold."""

from collections.abc import Sequence
from typing import Any

from enrow_source.testing import SimulatedEnrow, bodies
from tests.support.warehouse import Warehouse

Contents = dict[str, list[tuple[Any, ...]]]


def contents(warehouse: Warehouse) -> Contents:
    """Return what the tables hold, each row with the columns that tell whether it is there, and there once."""
    return {
        "batches": warehouse.sql("SELECT batch_id, status FROM batches ORDER BY ALL"),
        "batch_stats": warehouse.sql("SELECT batch_id, status, results_received FROM batch_stats ORDER BY ALL"),
        "phone_results": warehouse.sql('SELECT batch_id, "index", number FROM phone_results ORDER BY ALL'),
        "phone_results_ledger": warehouse.sql(
            "SELECT batch_id, status, results_loaded FROM phone_results_ledger ORDER BY ALL"
        ),
    }


def completed(**results: int) -> Contents:
    """Return the contents when these batches are complete, with so many results each, and no others."""
    return {
        "batches": [(batch_id, "completed") for batch_id in sorted(results)],
        "batch_stats": [(batch_id, "completed", results[batch_id]) for batch_id in sorted(results)],
        "phone_results": [
            (batch_id, result["index"], result.get("number"))
            for batch_id in sorted(results)
            for result in bodies.completed(batch_id, results[batch_id])["results"]
        ],
        "phone_results_ledger": [(batch_id, "completed", results[batch_id]) for batch_id in sorted(results)],
    }


def fetches(api: SimulatedEnrow, batch_ids: Sequence[str]) -> list[int]:
    return [api.fetches(batch_id) for batch_id in batch_ids]
