"""What several suites use: a warehouse, a command, servers, the wheel, strategies."""

from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
"""The checkout that is tested."""
