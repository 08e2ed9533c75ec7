"""Warehouses in which dbt has built the models, and the bodies that were served."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeAlias

from enrow_source.submissions.run_log import SUBMIT_RUNS
from enrow_source.tables.person import person_key, profile_key
from enrow_source.tables.schema import ACCOUNT_CREDITS, SUBMISSIONS, SUBMITTED_SEARCHES, TABLES
from enrow_source.testing import SimulatedEnrow, bodies
from tests.support import REPOSITORY
from tests.support.wheel import Installation

PACKAGE = REPOSITORY / "dbt"
README = (PACKAGE / "README.md").read_text(encoding="utf-8")
LOCK = REPOSITORY / "requirements" / "dbt.txt"
ENVIRONMENT = REPOSITORY / ".venv-dbt"
STAMP = ENVIRONMENT / ".ready"
"""A copy of the lock that the environment was made from; `make dbt` writes it too."""


OPTIONAL = (SUBMISSIONS, SUBMITTED_SEARCHES, ACCOUNT_CREDITS, SUBMIT_RUNS)
"""Tables that not every warehouse has."""
SOURCES = {table.name for table in (*TABLES, *OPTIONAL)}
STAGING = {
    "stg_enrow__batches",
    "stg_enrow__batch_stats",
    "stg_enrow__phone_results",
    "stg_enrow__batch_errors",
    "stg_enrow__submissions",
    "stg_enrow__submitted_searches",
    "stg_enrow__account_credits",
    "stg_enrow__submit_runs",
}
MARTS = {
    "enrow__submissions",
    "enrow__people",
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

SAME_PERSON = json.loads((REPOSITORY / "tests" / "support" / "same_person.json").read_text(encoding="utf-8"))
"""Who is the same person: what erasing and submitting are tested with too."""

LEADS = [
    {"linkedin_url": "https://de.linkedin.com/in/elena-%E6%98%8E/", "custom": "lead-1"},
    {"firstname": "Fabio", "lastname": "Thorne", "company_name": "Ember Example Works", "custom": "lead-2"},
    {"linkedin_url": "https://www.linkedin.com/in/greta-lowell", "custom": "lead-3"},
    {"linkedin_url": "https://www.linkedin.com/in/henrik-wick", "custom": "lead-4"},
]
"""Who is submitted; of the first one SQL alone would not know the name."""
LOST = [{"linkedin_url": "https://www.linkedin.com/in/iris-vane"}, {"linkedin_url": "linkedin.com/in/jonas-vane"}]
"""Who is in a submission whose answer is lost."""


def spelled() -> list[dict[str, str]]:
    """Make a search of each spelling of a person; `custom` is what stands for the person."""
    profiles = [
        {"linkedin_url": spelling, "custom": profile["key"]}
        for profile in SAME_PERSON["profiles"]
        for spelling in profile["spellings"]
    ]
    people = [
        search | {"custom": one["key"] or "nobody"} for one in SAME_PERSON["people"] for search in one["searches"]
    ]
    return [*profiles, *people]


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
        "spelled": bodies.answering("spelled", spelled(), 0.0),
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
    key = person_key(params)
    if profile_key(params.get("linkedin_url", "")):
        return "profile_url", key
    return "other" if key is None else "name_and_company", key


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
class Loaded:
    """What was loaded besides what is served."""

    days: tuple[date, date]
    """First and last day of the load, UTC."""
    submitted: dict[str, Body]
    """The batch that was submitted, and its body."""


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
    loaded: Loaded

    @property
    def served(self) -> dict[str, Body]:
        """The body of each batch, of those that were submitted too."""
        return served() | self.loaded.submitted

    @property
    def searches(self) -> list[Search]:
        return searches(self.served, self.campaign_key, self.credits_per_found)


def load(wheel: Installation, folder: Path, *arguments: str, **variables: str) -> Loaded:
    """Submit people, one batch for certain and one whose answer is lost, and load everything, as users do."""

    def enrow(command: str, *more: str) -> int:
        environment = {"ENROW_API_KEY": api.api_key, **variables}
        line = ("enrow", command, *more, "--base-url", api.url, *arguments)
        ended = wheel.run(folder, *line, env=environment, check=False)
        (folder / f"{command}.log").write_text(ended.stdout + ended.stderr, encoding="utf-8")
        return int(ended.returncode)

    with SimulatedEnrow() as api:
        for batch_id, body in served().items():
            api.respond(batch_id, body)
        began = datetime.now(UTC).date()
        api.fault_posts(None, "refuse-then-drop")
        for people, code in ((LEADS, 0), (LOST, 7)):
            (folder / "people.jsonl").write_text("\n".join(map(json.dumps, people)), encoding="utf-8")
            more = ("--people-file", "people.jsonl", "--max-credits", "400", "--campaign", "leads")
            assert enrow("submit", *more) == code, (folder / "submit.log").read_text(encoding="utf-8")
        submitted = api.finish()
        assert enrow("run", *served(), UNKNOWN) == 3, (folder / "run.log").read_text(encoding="utf-8")
        return Loaded((began, datetime.now(UTC).date()), {one: answer_of(api, one) for one in submitted})


def answer_of(api: SimulatedEnrow, batch_id: str) -> Body:
    request = urllib.request.Request(f"{api.url}/phone/bulk?id={batch_id}", headers={"x-api-key": api.api_key})  # noqa: S310 - http
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        body: Body = json.load(answer)
        return body


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
