"""Whether `credits_cost` is net of `credits_to_refund` or gross: the API does not document it, its batches say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from ..tables.schema import BATCH_STATS

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


@dataclass(frozen=True, slots=True)
class CreditsReading:
    """Batches with a refund, by what their own counts say of `credits_cost`."""

    net: int = 0
    gross: int = 0
    neither: int = 0

    @property
    def is_known(self) -> bool:
        """Whether any batch has a refund."""
        return self.net + self.gross + self.neither > 0

    def __str__(self) -> str:
        if not self.is_known:
            return "not known yet: no batch has a refund"
        which = {(True, False): "net of refunds", (False, True): "gross of refunds", (True, True): "net and gross"}
        reading = which.get((self.net > 0, self.gross > 0), "neither net nor gross of refunds")
        return f"{reading} ({self.net:,} batches net, {self.gross:,} gross, {self.neither:,} neither)"


def read_credits(client: SqlClientBase[Any]) -> CreditsReading:
    """Count the batches of each reading; zeros before the first load.

    A net cost is to the refund as what was found is to what was not, a gross one as all is, whatever a number costs.
    """
    name = client.escape_column_name
    cost, refund, requested, found = map(name, ("credits_cost", "credits_to_refund", "requested", "found"))
    # No casts: exact numbers stay exact, and no destination spells a float of eight bytes like another.
    is_net, is_gross = (f"{cost} * ({requested} - {found}) = {refund} * {of}" for of in (found, requested))
    which = f"CASE WHEN {is_net} THEN 1 WHEN {is_gross} THEN 2 ELSE 0 END"
    table = client.make_qualified_table_name(BATCH_STATS.name)
    sql = f"SELECT {which}, COUNT(*) FROM {table} WHERE {refund} > 0 AND {cost} IS NOT NULL GROUP BY {which}"  # noqa: S608 - escaped names
    try:
        rows: Any = client.execute_sql(sql) or ()
    except DestinationUndefinedEntity:
        return CreditsReading()
    counts = dict(rows)
    return CreditsReading(counts.get(1, 0), counts.get(2, 0), counts.get(0, 0))
