"""What happens in a sequence besides kills."""

from __future__ import annotations

from enum import StrEnum


class Theme(StrEnum):
    """One theme for each sequence; the values are what is printed."""

    COMMAND = "the command alone"
    PLAIN = "pipeline.run and the command take turns"
    OVERLAPS = "runs of fresh containers beside those that are killed"
    RESTORE = "the warehouse is restored from a backup"
    ERASURES = "batches are erased"
    TWO_WAREHOUSES = "two warehouses of one user, in one working folder"
