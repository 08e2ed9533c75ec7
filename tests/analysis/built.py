"""Warehouses in which dbt has built the models, and the bodies that were served."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from enrow_source.tables.schema import TABLES
from enrow_source.testing import SimulatedEnrow, bodies
from tests.support import REPOSITORY
from tests.support.wheel import Installation

PACKAGE = REPOSITORY / "dbt"
README = (PACKAGE / "README.md").read_text(encoding="utf-8")
LOCK = REPOSITORY / "requirements" / "dbt.txt"
ENVIRONMENT = REPOSITORY / ".venv-dbt"
STAMP = ENVIRONMENT / ".ready"
"""A copy of the lock that the environment was made from; `make dbt` writes it too."""


SOURCES = {table.name for table in TABLES}
STAGING = {"stg_enrow__batches", "stg_enrow__batch_stats", "stg_enrow__phone_results", "stg_enrow__batch_errors"}
MARTS = {
    "enrow__phone_searches",
    "enrow__batches",
    "enrow__daily_credits",
    "enrow__coverage_by_country",
    "enrow__duplicate_searches",
}


Row: TypeAlias = tuple[Any, ...]


Body: TypeAlias = dict[str, Any]


def called(
    *command: str, env: Mapping[str, str] | None = None, cwd: Path = REPOSITORY, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)


def made(*command: str, env: Mapping[str, str] | None = None, cwd: Path = REPOSITORY) -> str:
    ended = called(*command, env=env, cwd=cwd)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stdout}{ended.stderr}"
    return ended.stdout


class Dbt:
    """Runs dbt in a project, with nothing of the user's: no profile, no folder written to but `target`."""

    def __init__(self, environment: Path, project: Path, folder: Path, **variables: str) -> None:
        self.command = str(environment / "dbt")
        self.project = project
        self.target = folder / "target"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "DBT_TARGET_PATH": str(self.target),
            "DBT_LOG_PATH": str(folder / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            # A session far from UTC: dates must come out the same.
            "TZ": "Pacific/Kiritimati",
            "PGTZ": "Pacific/Kiritimati",
            **variables,
        }

    def __call__(self, *arguments: str) -> str:
        ended = called(self.command, "--no-use-colors", *arguments, cwd=self.project, env=self.env)
        assert ended.returncode == 0, f"dbt {' '.join(arguments)}: {ended.stdout[-6000:]}{ended.stderr}"
        return ended.stdout

    def read(self, name: str) -> Any:
        return json.loads((self.target / name).read_text(encoding="utf-8"))


ALMA = {"linkedin_url": "https://www.linkedin.example/in/alma-marlow"}
ALMA_AGAIN = {"linkedin_url": "linkedin.example/in/Alma-Marlow/?trk=mail#top"}
BRUNO = {"firstname": "Bruno", "lastname": "Quillby", "company_domain": "amber.example"}
BRUNO_AGAIN = {"firstname": " BRUNO", "lastname": "quillby ", "company_domain": "Amber.example"}
CLARA = {"firstname": "Clara", "lastname": "Vickers", "company_name": "Ember Example Works"}
DARIO = {"linkedin_url": "https://www.linkedin.example/in/dario-yarrow"}
NOBODY = {"company_name": "Prism Example Works"}


def served() -> dict[str, Body]:
    """Make the body of each batch that the API knows."""
    campaign = {"campaign": "spring", "label": "north"}
    every_level: bodies.Extra = {"general": {"new": 1}, "stats": {"new": 1}, "result": {"new": 1}, "params": {"new": 1}}
    disagrees = bodies.completed("disagrees", 8)
    disagrees["results"] = disagrees["results"][:5]
    disagrees["stats"] |= {"found": 7, "credits_cost": 280}
    silent = bodies.completed("silent", 4)
    del silent["stats"]
    people = [ALMA, BRUNO, CLARA, CLARA]
    return {
        "spring-1": bodies.answering("spring-1", [*people, *bodies.searches("spring-1", 6)], 1.0, custom=campaign),
        "spring-2": bodies.completed("spring-2", 40, custom={**campaign, "label": "south"}),
        "autumn": bodies.answering(
            "autumn", [ALMA_AGAIN, BRUNO_AGAIN, DARIO], 1.0, custom="autumn", credits_per_phone=50
        ),
        "none-found": bodies.answering("none-found", [DARIO, NOBODY], 0.0, null_when_not_found=True),
        "odd": bodies.completed(
            "odd", 12, found_key="valid", index_as_string=True, result_custom={"row": 1}, extra=every_level
        ),
        "empty": bodies.completed("empty", 0),
        "disagrees": disagrees,
        "silent": silent,
        "failed": bodies.failed("failed", {"requested": 4}, "null"),
        "ongoing": bodies.ongoing("ongoing", 10, 4),
        "all-done": bodies.ongoing("all-done", 10, 10),
    }


UNKNOWN = "nobody-knows"


@dataclass(frozen=True)
class Search:
    """A result as it was served."""

    batch_id: str
    campaign: str | None
    kind: str
    person: str | None
    result: Body
    expected: float
    claimed: float | None

    @property
    def found(self) -> bool:
        return bool(self.result["qualification"] == "found")


def kind_and_person(params: Mapping[str, str]) -> tuple[str, str | None]:
    if url := params.get("linkedin_url"):
        parts = urlsplit(url if "://" in url else f"https://{url}")
        return "profile_url", f"{parts.netloc}{parts.path}".lower().removeprefix("www.").rstrip("/")
    company = params.get("company_domain") or params.get("company_name")
    names = [params.get("firstname"), params.get("lastname")]
    if company and any(names):
        return "name_and_company", f"{' '.join((n or '').strip() for n in names)} @ {company}".lower()
    return "other", None


def campaign_of(body: Body, key: str) -> str | None:
    custom = body["general"].get("custom")
    campaign = custom.get(key) if isinstance(custom, dict) else custom
    return None if campaign is None else str(campaign)


def searches(served: Mapping[str, Body], key: str, credits_per_found: int) -> list[Search]:
    rows = []
    for batch_id, body in served.items():
        results: Sequence[Body] = body.get("results") or ()
        found = [result["qualification"] for result in results].count("found")
        cost = body.get("stats", {}).get("credits_cost")
        for result in results:
            kind, person = kind_and_person(result["params"])
            is_found = result["qualification"] == "found"
            expected = credits_per_found if is_found else 0
            claimed = 0 if not is_found else None if cost is None else share(cost, found)
            rows.append(Search(batch_id, campaign_of(body, key), kind, person, result, expected, claimed))
    return rows


def share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True)
class BuiltModels:
    """A warehouse that dbt has built the models in."""

    dbt: Dbt
    query: Callable[[str], list[Row]]
    """Runs a statement on the models."""
    connect: Callable[[], Any]
    """Opens a connection of the warehouse's driver, in the schema of the models."""
    campaign_key: str
    credits_per_found: int
    days: tuple[date, date]
    """First and last day of the load, UTC."""

    @property
    def searches(self) -> list[Search]:
        return searches(served(), self.campaign_key, self.credits_per_found)


def load(wheel: Installation, folder: Path, *arguments: str, **variables: str) -> tuple[date, date]:
    """Load everything with the command that users install; return the days it ran on."""
    with SimulatedEnrow() as api:
        for batch_id, body in served().items():
            api.respond(batch_id, body)
        began = datetime.now(UTC).date()
        command = ("enrow", "run", *served(), UNKNOWN, "--base-url", api.url, *arguments)
        ended = wheel.run(folder, *command, env={"ENROW_API_KEY": api.api_key, **variables}, check=False)
        assert ended.returncode == 3, f"{UNKNOWN} should be all that could not be read: {ended.stdout}{ended.stderr}"
        return began, datetime.now(UTC).date()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
