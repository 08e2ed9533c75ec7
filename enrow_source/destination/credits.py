"""Credits: what the account had at each run, and whether `credits_cost` is net of refunds, as the batches say it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dlt.common import logger
from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from ..api.access import SourceSettings
from ..settings import SOURCE_NAME
from ..tables.schema import ACCOUNT_CREDITS, BATCH_STATS
from .row_log import Row

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


@configspec
class _Settings(SourceSettings):
    """The setting of the source below which credits are few."""

    min_credits: float | None = None


@dataclass(frozen=True, slots=True)
class Credits:
    """What the account has."""

    left: float | None = None
    """None where the API does not say."""
    least: float | None = None
    """`min_credits`; None where it is not set."""

    @property
    def are_few(self) -> bool:
        """Whether fewer are left than `min_credits`."""
        return self.left is not None and self.least is not None and self.left < self.least

    def __str__(self) -> str:
        return "" if self.left is None else f"{self.left:,.12g} credits left, min_credits is {self.least:,.12g}"


def least_credits() -> float | None:
    """Return `min_credits` under `[sources.enrow]`, or None; raises ConfigurationException where it is no number."""
    return resolve_configuration(_Settings(), sections=("sources", SOURCE_NAME)).min_credits


def credits_row(command: str, run_id: str, left: float | None) -> Row:
    """Return the row of the balance that `command`, which is `run`, `submit` or `check`, was told."""
    exact = None if left is None else Decimal(str(left))
    return ACCOUNT_CREDITS, {"checked_at": datetime.now(UTC), "credits": exact, "command": command, "run_id": run_id}


def compare_credits(left: float | None) -> Credits:
    """Compare a balance with `min_credits`; warn where it is low."""
    found = Credits(left, least_credits())
    if found.are_few:
        logger.warning(str(found))
    return found


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
