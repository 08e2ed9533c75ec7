"""Fictional people to submit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from enrow_source.submissions.people import InvalidRow, Person, check_rows

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(number: int) -> dict[str, str]:
    """A row that can be searched."""
    return {"linkedin_url": f"https://www.linkedin.com/in/person-{number}", "custom": f"lead-{number}"}


def people(count: int, first: int = 1) -> list[Person]:
    """So many people, each another one."""
    checked = list(check_rows(row(number) for number in range(first, first + count)))
    return [one for one in checked if not isinstance(one, InvalidRow)]


EXAMPLES: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "support" / "same_person.json").read_text(encoding="utf-8")
)
"""Who is the same person: the table that erasing, submitting and the dbt models are tested with."""
