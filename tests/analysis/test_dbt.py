"""The dbt package: built with dbt itself on DuckDB and on Postgres, and its numbers against those of the served bodies.

dbt has an environment of its own, `.venv-dbt`, which is made when it is missing or when its lock has changed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import duckdb
import psycopg2  # type: ignore[import-untyped] # it has no types
import pytest
import sqlglot

from enrow_source.tables.schema import TABLES
from enrow_source.testing import SimulatedEnrow, bodies
from notebooks.phone_bulk_analysis import app
from tests.destinations.environments import python_of
from tests.support import REPOSITORY
from tests.support.uv import uv
from tests.support.wheel import Installation, InstalledWith

if TYPE_CHECKING:  # pytest imports it, as a plugin
    from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres", "tests.support.wheel")
pytestmark = pytest.mark.timeout(600)  # the first run installs dbt

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


# dbt, and where it runs ------------------------------------------------------------------------------------------


def called(
    *command: str, env: Mapping[str, str] | None = None, cwd: Path = REPOSITORY, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)


def made(*command: str, env: Mapping[str, str] | None = None, cwd: Path = REPOSITORY) -> str:
    ended = called(*command, env=env, cwd=cwd)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="session")
def environment() -> Path:
    """Make the environment unless there is one from this very lock; return its folder of commands."""
    with LOCK.open(encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run of the tests may be about to make it as well
        wanted = lock.read()
        if not STAMP.is_file() or STAMP.read_text(encoding="utf-8") != wanted:
            python = str(ENVIRONMENT / "bin" / "python")
            uv("venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT))
            uv("pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(LOCK))
            STAMP.write_text(wanted, encoding="utf-8")
    return ENVIRONMENT / "bin"


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


# What the API serves, and what follows from it -------------------------------------------------------------------

ALMA = {"linkedin_url": "https://www.linkedin.example/in/alma-marlow"}
ALMA_AGAIN = {"linkedin_url": "linkedin.example/in/Alma-Marlow/?trk=mail#top"}
BRUNO = {"firstname": "Bruno", "lastname": "Quillby", "company_domain": "amber.example"}
BRUNO_AGAIN = {"firstname": " BRUNO", "lastname": "quillby ", "company_domain": "Amber.example"}
CLARA = {"firstname": "Clara", "lastname": "Vickers", "company_name": "Ember Example Works"}
DARIO = {"linkedin_url": "https://www.linkedin.example/in/dario-yarrow"}
NOBODY = {"company_name": "Prism Example Works"}
MEANT = {"alma": 1, "bruno": 1, "clara": 1}
"""Who is paid for again, and how many times too often."""


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


# The warehouses --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Warehouse:
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


@pytest.fixture(scope="module")
def on_duckdb(environment: Path, installed_with: InstalledWith, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Build in the package's own folder, as `make dbt` does, on the file that the installed command wrote."""
    folder = tmp_path_factory.mktemp("duckdb")
    days = load(installed_with(""), folder)
    file = folder / "warehouse.duckdb"
    dbt = Dbt(environment, PACKAGE, folder, ENROW_WAREHOUSE=str(file))
    dbt("build")

    def connect() -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(file), read_only=True).execute("USE enrow")

    def query(statement: str) -> list[Row]:
        with connect() as connection:
            return connection.execute(statement).fetchall()

    return Warehouse(dbt, query, connect, "campaign", 40, days)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def crm_project(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package from a git repository's sub-directory, as the README says, into a project with other vars."""
    folder = tmp_path_factory.mktemp("installed")
    repository, project = folder / "repository", folder / "project"
    shutil.copytree(PACKAGE, repository / "dbt", ignore=shutil.ignore_patterns("target", "logs", "dbt_packages"))
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@enrow.example", "-c", "commit.gpgsign=false")
    for arguments in (("init", "--quiet", "--initial-branch", "main"), ("add", "."), ("commit", "--quiet", "-m", "A")):
        made(*git, *arguments, cwd=repository)
    project.mkdir()
    snippet, _ = blocks("yaml")
    address = "https://git.example/enrow_source.git"
    assert address in snippet
    (project / "packages.yml").write_text(snippet.replace(address, str(repository)), encoding="utf-8")
    variables = {"enrow_schema": "crm_phones", "enrow_campaign_key": "label", "enrow_credits_per_found": 50}
    # JSON is YAML too.
    settings = {"name": "crm", "version": "1.0.0", "config-version": 2, "profile": "crm", "vars": {"enrow": variables}}
    (project / "dbt_project.yml").write_text(json.dumps(settings), encoding="utf-8")
    (project / "profiles.yml").write_text(json.dumps({"crm": {"target": "none", "outputs": {"none": {}}}}))
    Dbt(environment, project, folder)("deps")
    return project


@pytest.fixture(scope="module")
def on_postgres(
    environment: Path,
    installed_with: InstalledWith,
    crm_project: Path,
    postgres: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Warehouse:
    """Build as an installed package, on another dataset and with other vars."""
    folder = tmp_path_factory.mktemp("postgres")
    arguments = ("--destination", "postgres", "--dataset", "crm_phones")
    days = load(installed_with("postgres"), folder, *arguments, DESTINATION__POSTGRES__CREDENTIALS=postgres.url)
    socket = postgres.url.split("host=")[1]
    target = {"type": "postgres", "host": socket, "port": 5432, "user": "postgres", "password": "x"}
    target |= {"dbname": "postgres", "schema": "crm_models", "threads": 2}
    profile = {"crm": {"target": "postgres", "outputs": {"postgres": target}}}
    (folder / "profiles.yml").write_text(json.dumps(profile), encoding="utf-8")
    dbt = Dbt(environment, crm_project, folder, DBT_PROFILES_DIR=str(folder))
    dbt("build")

    def connect() -> Any:
        return psycopg2.connect(postgres.url, options="-c search_path=crm_models")

    def query(statement: str) -> list[Row]:
        with closing(connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    return Warehouse(dbt, query, connect, "label", 50, days)


@pytest.fixture(params=["on_duckdb", "on_postgres"])
def built(request: pytest.FixtureRequest) -> Warehouse:
    warehouse: Warehouse = request.getfixturevalue(request.param)
    return warehouse


# dbt's own tests --------------------------------------------------------------------------------------------------


def test_the_build_passes_and_warns_of_what_is_up_to_the_api(built: Warehouse) -> None:
    results = built.dbt.read("run_results.json")["results"]
    by_status = Counter(result["status"] for result in results)
    warnings = [result["unique_id"].split(".")[2] for result in results if result["status"] == "warn"]
    assert by_status.keys() == {"success", "pass", "warn"}
    assert warnings == ["claims_agree_with_what_arrived"]
    models = {result["unique_id"] for result in results if result["unique_id"].startswith("model.")}
    assert models == {f"model.enrow.{name}" for name in STAGING | MARTS}
    assert sum(result["unique_id"].startswith("unit_test.") for result in results) == 4


# The marts against the served bodies ------------------------------------------------------------------------------


def test_phone_searches_has_a_row_for_each_result(built: Warehouse) -> None:
    rows = built.query(
        "SELECT batch_id, search_index, campaign, is_found, phone_number, country, search_kind, person_key,"
        " CAST(credits_expected AS double precision), CAST(credits_claimed AS double precision)"
        " FROM enrow__phone_searches ORDER BY batch_id, search_index"
    )
    expected = [
        (
            search.batch_id,
            int(search.result["index"]),
            search.campaign,
            search.found,
            search.result.get("number"),
            search.result.get("country"),
            search.kind,
            search.person,
            float(search.expected),
            search.claimed,
        )
        for search in built.searches
    ]
    assert len(rows) == 10 + 40 + 3 + 2 + 12 + 5 + 4
    for row, wanted in zip(rows, sorted(expected, key=lambda row: row[:2]), strict=True):
        assert row[:-1] == wanted[:-1]
        assert row[-1] == pytest.approx(wanted[-1], abs=1e-6), row  # numerics have six decimals


def test_batches_reconciles_claims_with_what_arrived(built: Warehouse) -> None:
    rows = built.query(
        "SELECT batch_id, state, campaign, requested, results_received, result_rows, found, found_received,"
        " credits_cost, credits_expected, reconciliation, is_stuck, needs_attention, last_error_kind"
        " FROM enrow__batches"
    )
    each = built.credits_per_found
    agreement = dict.fromkeys(served(), "agrees")
    agreement |= dict.fromkeys(("disagrees", "autumn" if each == 40 else "spring-1"), "disagrees")
    agreement |= {"silent": "not_claimed", "failed": "not_claimed", "ongoing": "not_ended", "all-done": "not_ended"}
    if each == 50:
        agreement |= dict.fromkeys(("spring-2", "odd"), "disagrees")
    expected = {UNKNOWN: (UNKNOWN, "unreadable", *[None] * 3, 0, *[None] * 4, "not_ended", False, True, "not_readable")}
    for batch_id, body in served().items():
        stats, results = body.get("stats", {}), body.get("results") or []
        status = body["general"]["status"]
        received = [result["qualification"] for result in results].count("found")
        expected[batch_id] = (
            batch_id,
            "in_progress" if status == "ongoing" else status,
            campaign_of(body, built.campaign_key),
            stats.get("requested"),
            len(results),
            len(results),
            stats.get("found", stats.get("valid")),
            received,
            stats.get("credits_cost"),
            None if status == "ongoing" else each * received,
            agreement[batch_id],
            batch_id == "all-done",
            batch_id in ("failed", "all-done") or agreement[batch_id] == "disagrees",
            None,
        )
    assert {row[0]: row for row in rows} == expected
    assert len(rows) == len(expected)


def test_the_batch_whose_counts_disagree_tells_by_how_much(built: Warehouse) -> None:
    (row,) = built.query(
        "SELECT results_difference, rows_difference, found_difference, credits_difference"
        " FROM enrow__batches WHERE batch_id = 'disagrees'"
    )
    arrived = [result["qualification"] for result in served()["disagrees"]["results"]].count("found")
    assert row == (3, 0, 7 - arrived, 280 - built.credits_per_found * arrived)
    assert arrived < 7


def test_daily_credits_adds_up_by_campaign(built: Warehouse) -> None:
    counts = ("searches", "found", "searches_by_profile", "found_by_profile", "searches_by_name", "found_by_name")
    columns = (
        "batches",
        "batches_completed",
        *counts,
        "found_received",
        "credits_expected",
        "credits_claimed",
        "credits_to_refund",
    )
    sums = ", ".join(f"sum({column})" for column in columns)
    rows = built.query(f"SELECT campaign, {sums} FROM enrow__daily_credits GROUP BY campaign")
    expected = {}
    for campaign in {campaign_of(body, built.campaign_key) for body in served().values()}:
        batches = [body for body in served().values() if campaign_of(body, built.campaign_key) == campaign]
        of_all = [search for search in built.searches if search.campaign == campaign]
        by_kind = [[s for s in of_all if s.kind == kind] for kind in ("profile_url", "name_and_company")]
        expected[campaign] = (
            len(batches),
            sum(body["general"]["status"] == "completed" for body in batches),
            *(number for part in (of_all, *by_kind) for number in (len(part), sum(s.found for s in part))),
            sum(search.found for search in of_all),
            sum(search.expected for search in of_all),
            *(
                sum(body.get("stats", {}).get(name, 0) for body in batches)
                for name in ("credits_cost", "credits_to_refund")
            ),
        )
    assert {row[0]: row[1:] for row in rows} == expected
    assert len(expected) == 3 if built.campaign_key == "campaign" else 4


def test_daily_credits_tells_shares_and_costs_of_a_day(built: Warehouse) -> None:
    rows = built.query(
        "SELECT fetched_date, searches, found, credits_claimed, credits_expected, searches_by_profile,"
        " found_by_profile, searches_by_name, found_by_name, share_found, share_found_by_profile,"
        " share_found_by_name, credits_difference, credits_per_found FROM enrow__daily_credits"
    )
    assert {built.days[0], *(row[0] for row in rows), built.days[1]} == set(built.days)
    for _, total, found, claimed, expected, by_profile, profiles, by_name, names, *ratios in rows:
        wanted = [share(found, total), share(profiles, by_profile), share(names, by_name)]
        assert ratios == pytest.approx([*wanted, claimed - expected, share(float(claimed), found)])


def test_coverage_by_country_divides_what_was_found(built: Warehouse) -> None:
    rows = built.query(
        "SELECT country, batches, searches, found, found_by_profile, found_by_name, credits_expected,"
        " share_of_found, CAST(credits_claimed AS double precision), credits_per_found"
        " FROM enrow__coverage_by_country"
    )
    found_in_all = sum(search.found for search in built.searches)
    by_country: dict[str | None, list[Search]] = {}
    for search in built.searches:
        by_country.setdefault(search.result.get("country"), []).append(search)
    assert by_country.keys() == {row[0] for row in rows}
    assert len(rows) == len(by_country) > 3
    for country, *counts, share_of_found, claimed, per_found in rows:
        of_country = by_country[country]
        found = [search for search in of_country if search.found]
        assert counts == [
            len({search.batch_id for search in of_country}),
            len(of_country),
            len(found),
            sum(search.kind == "profile_url" for search in found),
            sum(search.kind == "name_and_company" for search in found),
            sum(search.expected for search in found),
        ]
        cost = sum(search.claimed or 0 for search in found)
        assert share_of_found == pytest.approx(len(found) / found_in_all)
        assert claimed == pytest.approx(cost, abs=1e-4)
        assert per_found == (pytest.approx(cost / len(found), abs=1e-4) if found else None)


def test_duplicate_searches_names_who_was_paid_for_twice(built: Warehouse) -> None:
    rows = built.query(
        "SELECT person_key, times_searched, times_paid, batches, credits_expected, credits_expected_again,"
        " credits_claimed FROM enrow__duplicate_searches ORDER BY person_key"
    )
    people: dict[str, list[Search]] = {}
    for search in built.searches:
        if search.person is not None:
            people.setdefault(search.person, []).append(search)
    expected = {}
    for person, all_of in people.items():
        paid = sum(search.found for search in all_of)
        if paid > 1:
            batches = len({search.batch_id for search in all_of})
            costs = sum(search.expected for search in all_of), (paid - 1) * built.credits_per_found
            expected[person] = (person, len(all_of), paid, batches, *costs, sum(s.claimed or 0 for s in all_of))
    assert {row[0]: row for row in rows} == expected
    assert len(rows) == len(expected)
    again = {person.split("/in/")[-1].replace("-", " ").split()[0]: row[2] - 1 for person, row in expected.items()}
    assert again == MEANT


def test_what_the_repetition_cost_is_what_the_later_batch_took(built: Warehouse) -> None:
    rows = built.query("SELECT person_key, credits_claimed_again FROM enrow__duplicate_searches ORDER BY person_key")
    again = {person.split()[0]: credits_again for person, credits_again in rows}
    assert again["clara"] == 40
    # Which of the two batches came first is up to the connections: 40 credits a phone in the one, 50 in the other.
    assert {again["bruno"], again["linkedin.example/in/alma-marlow"]} <= {40, 50}


def test_the_queries_of_the_readme_run(built: Warehouse) -> None:
    by_campaign, by_country, by_kind, attention, twice = (built.query(statement) for statement in blocks("sql"))
    assert {row[0] for row in by_campaign} == {search.campaign for search in built.searches}
    assert {row[0] for row in by_country} == {s.result["country"] for s in built.searches if s.found}
    assert {row[0] for row in by_kind} == {"profile_url", "name_and_company", "other"}
    assert {"disagrees", "failed", "all-done", UNKNOWN} <= {row[0] for row in attention}
    assert len(twice) == len(MEANT)


def test_the_analysis_page_reads_the_models_through_any_driver(built: Warehouse) -> None:
    with closing(built.connect()) as connection:
        _, page = app.run(defs={"warehouse": connection})
    by_campaign = {row["campaign"]: (row["found"], row["credits"]) for row in page["by_campaign"].to_dict("records")}
    expected = {}
    for campaign in {search.campaign for search in built.searches if search.found}:
        found = [search for search in built.searches if search.found and search.campaign == campaign]
        expected[campaign or "none told"] = (len(found), sum(search.claimed or 0 for search in found))
    assert by_campaign.keys() == expected.keys()
    for campaign, message in by_campaign.items():
        assert message == pytest.approx(expected[campaign], abs=1e-3)
    assert page["by_week"]["searches"].sum() == len(built.searches)
    assert page["paid_again"]["searches"].sum() == sum(MEANT.values())
    claimed = sum(body.get("stats", {}).get("credits_cost", 0) for body in served().values())
    assert page["bill_by_day"]["claimed"].sum() == claimed
    assert {"disagrees", "failed", "all-done", UNKNOWN} <= set(page["attention"]["Batch"])


def test_freshness_warns_when_the_api_has_not_answered(on_duckdb: Warehouse) -> None:
    def move(hours: int) -> None:
        with duckdb.connect(on_duckdb.dbt.env["ENROW_WAREHOUSE"]) as connection:
            connection.execute(f"UPDATE enrow_data.batches SET fetched_at = fetched_at + INTERVAL ({hours}) HOURS")

    move(-30)
    try:
        on_duckdb.dbt("source", "freshness")
    finally:
        move(30)
    results = on_duckdb.dbt.read("sources.json")["results"]
    statuses = {result["unique_id"].split(".")[-1]: result["status"] for result in results}
    fresh = dict.fromkeys(SOURCES - {"batch_errors"}, "pass")  # no error is no staleness
    assert statuses == fresh | {"batches": "warn"}


# Snowflake and BigQuery -------------------------------------------------------------------------------------------

SNOWFLAKE = {
    "type": "snowflake",
    "account": "example",
    "user": "nobody",
    "password": "x",
    "database": "ANALYTICS",
    "warehouse": "SMALL",
    "schema": "ENROW",
}
NEW_KEY = """
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import rsa
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
print(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode())
"""


def bigquery(environment: Path) -> Body:
    keyfile = {
        "type": "service_account",
        "project_id": "analytics",
        "private_key_id": "none",
        "private_key": made(str(environment / "python"), "-c", NEW_KEY),
        "client_email": "nobody@enrow.example",
        "client_id": "0",
        "token_uri": "https://token.example",
    }
    target = {"type": "bigquery", "method": "service-account-json", "project": "analytics", "dataset": "enrow"}
    return {**target, "keyfile_json": keyfile, "threads": 1}


@pytest.fixture(params=["snowflake", "bigquery"])
def compiled(request: pytest.FixtureRequest, environment: Path, tmp_path: Path) -> tuple[str, dict[str, str]]:
    """Compile without a connection; return the dialect and the statement of each model and test."""
    dialect = request.param
    target = SNOWFLAKE if dialect == "snowflake" else bigquery(environment)
    profile = {"enrow": {"target": dialect, "outputs": {dialect: target}}}
    (tmp_path / "profiles.yml").write_text(json.dumps(profile), encoding="utf-8")
    dbt = Dbt(environment, PACKAGE, tmp_path, DBT_PROFILES_DIR=str(tmp_path))
    variables = json.dumps({"enrow_database": "raw", "enrow_schema": "phones", "enrow_campaign_key": "Ann's key"})
    offline = ("--no-introspect", "--no-populate-cache", "--exclude", "test_type:unit")
    dbt("compile", *offline, "--vars", variables)
    nodes = dbt.read("manifest.json")["nodes"].values()
    return dialect, {node["name"]: node["compiled_code"] for node in nodes if node["resource_type"] != "unit_test"}


def test_it_compiles_offline(compiled: tuple[str, dict[str, str]]) -> None:
    dialect, statements = compiled
    assert statements.keys() >= STAGING | MARTS
    assert len(statements) > 80
    for name, statement in statements.items():
        assert sqlglot.parse_one(statement, dialect=dialect) is not None, name
    batches, results = statements["stg_enrow__batches"], statements["stg_enrow__phone_results"]
    if dialect == "snowflake":
        assert "from raw.phones.batches" in batches
        assert r"get(try_parse_json(custom), 'Ann\'s key')" in batches
        assert '"INDEX" as search_index' in results
    else:
        assert "from `raw`.`phones`.`batches`" in batches
        assert "json_value(custom, '$.\"Ann\\'s key\"')" in batches
        assert "`index` as search_index" in results


@pytest.mark.parametrize("name", ["snowflake", "bigquery"])
def test_it_builds_on_an_emulator(name: str, environment: Path, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1,localhost",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    python, dbt = str(python_of(name)), str(environment / "dbt")
    made(python, "-m", "tests.destinations.models_on_emulator", name, dbt, str(tmp_path), env=env)
    results = json.loads((tmp_path / "target" / "run_results.json").read_text(encoding="utf-8"))["results"]
    assert {result["status"] for result in results} == {"success", "pass"}
    models = {result["unique_id"] for result in results if result["unique_id"].startswith("model.")}
    assert models == {f"model.enrow.{name}" for name in STAGING | MARTS}


# Documentation ----------------------------------------------------------------------------------------------------


def undescribed(nodes: Mapping[str, Body], columns: Mapping[str, set[str]]) -> list[str]:
    """Tell which models, and which of their `columns`, have no description, and what is described but not there."""
    found = []
    for name, actual in columns.items():
        described = {column["name"]: column["description"].strip() for column in nodes[name]["columns"].values()}
        found += [f"{name}.{column} has no description" for column in sorted(actual) if not described.get(column)]
        found += [f"{name}.{column} is described, but not there" for column in sorted(described.keys() - actual)]
        found += [] if nodes[name]["description"].strip() else [f"{name} has no description"]
    return found


def test_every_column_of_every_model_is_described(built: Warehouse) -> None:
    columns: dict[str, set[str]] = {name: set() for name in STAGING | MARTS}
    for table, column in built.query(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema IN ('enrow', 'crm_models')"
    ):
        columns.setdefault(table, set()).add(column)
    manifest = built.dbt.read("manifest.json")
    nodes = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    assert columns.keys() == nodes.keys()
    found = undescribed(nodes, columns)
    assert not found, "\n".join(found)


def test_src_enrow_describes_the_declared_columns(on_duckdb: Warehouse) -> None:
    sources = {source["name"]: source for source in on_duckdb.dbt.read("manifest.json")["sources"].values()}
    assert sources.keys() == SOURCES
    for table in TABLES:
        described = {column["name"]: column["description"] for column in sources[table.name]["columns"].values()}
        assert described == {column.name: column.description for column in table.columns}, table.name
        assert sources[table.name]["description"] == table.description


def test_personal_data_is_marked_down_to_the_marts(on_duckdb: Warehouse) -> None:
    manifest = on_duckdb.dbt.read("manifest.json")
    marked = {
        (node["name"], column["name"])
        for node in [*manifest["nodes"].values(), *manifest["sources"].values()]
        for column in node["columns"].values()
        if column["config"]["meta"].get("personal_data")
    }
    person = ("linkedin_url", "firstname", "lastname", "company_domain", "company_name")
    expected = {(table.name, column.name) for table in TABLES for column in table.columns if column.is_personal}
    expected |= {("stg_enrow__batches", "custom"), ("enrow__batches", "custom")}
    for model in ("stg_enrow__phone_results", "enrow__phone_searches"):
        expected |= {(model, name) for name in ("custom", "phone_number", *person)}
    expected |= {("enrow__phone_searches", "person_key"), ("enrow__duplicate_searches", "person_key")}
    assert marked == expected


def test_the_readme_tells_models_and_vars(on_duckdb: Warehouse) -> None:
    message = re.findall(r"^\| `(\w+)` \| (.*?) \|", README, re.MULTILINE)
    assert {name for name, _ in message if "__" in name} == MARTS
    assert all(f"`{name}`" in README for name in STAGING)
    project = (PACKAGE / "dbt_project.yml").read_text(encoding="utf-8")
    declared = re.findall(r"^    (enrow_\w+): (.*)$", project, re.MULTILINE)
    assert {(name, value.strip("`")) for name, value in message if "__" not in name} == {
        *declared,
        ("enrow_database", "the target's database"),
    }
    assert on_duckdb.dbt.read("manifest.json")["metadata"]["project_name"] == "enrow"


def test_no_module_has_a_name_that_dbt_takes_for_a_plugin() -> None:
    # dbt imports every top-level module whose name begins so.
    assert list(REPOSITORY.glob("dbt_*.py")) == []
    assert list((REPOSITORY / "tests").glob("dbt_*.py")) == []
