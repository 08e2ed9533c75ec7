"""The table `account_credits`: what the account had at each run, so that when it runs out is a question to SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from dlt.common import logger
from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.specs import BaseConfiguration

from ..settings import SOURCE_NAME
from ..tables.schema import ACCOUNT_CREDITS
from .row_log import Row


@configspec
class _Settings(BaseConfiguration):
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
