"""The dbt package, built with dbt itself on DuckDB and on Postgres: its numbers against those of the served bodies."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from enrow_source.tables.person import profile_key
from notebooks.phone_bulk_analysis import app
from tests.analysis.built import (
    LEADS,
    LOST,
    MARTS,
    OPTIONAL,
    PACKAGE,
    SOURCES,
    STAGING,
    UNKNOWN,
    BuiltModels,
    Dbt,
    Search,
    blocks,
    called,
    campaign_of,
    share,
    spelled,
)

pytest_plugins = ("tests.support.postgres", "tests.support.wheel")

pytestmark = pytest.mark.timeout(600)  # the first run installs dbt


MEANT = {"alma": 1, "bruno": 1, "clara": 1}
"""Who is paid for again, and how many times too often."""


def test_the_build_passes_with_its_warnings(built: BuiltModels) -> None:
    """The build passes and warns of what the API answers for."""
    results = built.dbt.read("run_results.json")["results"]
    by_status = Counter(result["status"] for result in results)
    warnings = [result["unique_id"].split(".")[2] for result in results if result["status"] == "warn"]
    assert by_status.keys() == {"success", "pass", "warn"}
    assert sorted(warnings) == ["claims_agree_with_what_arrived", "no_submission_is_unknown"]
    models = {result["unique_id"] for result in results if result["unique_id"].startswith("model.")}
    assert models == {f"model.enrow.{name}" for name in STAGING | MARTS}
    assert sum(result["unique_id"].startswith("unit_test.") for result in results) == 7


def test_phone_searches_has_a_row_for_each_result(built: BuiltModels) -> None:
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
    assert len(rows) == 10 + 40 + 3 + 2 + 12 + 5 + 4 + len(spelled()) + len(LEADS)
    for row, wanted in zip(rows, sorted(expected, key=lambda row: row[:2]), strict=True):
        assert row[:-1] == wanted[:-1]
        assert row[-1] == pytest.approx(wanted[-1], abs=1e-6), row  # numerics have six decimals


def test_batches_reconciles_claims_with_what_arrived(built: BuiltModels) -> None:
    rows = built.query(
        "SELECT batch_id, state, campaign, requested, results_received, result_rows, found, found_received,"
        " credits_cost, credits_expected, reconciliation, is_stuck, needs_attention, last_error_kind"
        " FROM enrow__batches"
    )
    each = built.credits_per_found
    agreement = dict.fromkeys(built.served, "agrees")
    agreement |= dict.fromkeys(("disagrees", "autumn" if each == 40 else "spring-1"), "disagrees")
    agreement |= {"silent": "not_claimed", "failed": "not_claimed", "ongoing": "not_ended", "all-done": "not_ended"}
    if each == 50:
        agreement |= dict.fromkeys(("spring-2", "odd", *built.loaded.submitted), "disagrees")
    expected = {
        UNKNOWN: (UNKNOWN, "unreadable", *[None] * 3, 0, *[None] * 4, "not_ended", False, True, "expired_or_unknown")
    }
    for batch_id, body in built.served.items():
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


def test_counts_that_disagree_are_compared(built: BuiltModels) -> None:
    """The batch whose counts disagree shows by how much."""
    (row,) = built.query(
        "SELECT results_difference, rows_difference, found_difference, credits_difference"
        " FROM enrow__batches WHERE batch_id = 'disagrees'"
    )
    arrived = [result["qualification"] for result in built.served["disagrees"]["results"]].count("found")
    assert row == (3, 0, 7 - arrived, 280 - built.credits_per_found * arrived)
    assert arrived < 7


def test_daily_credits_adds_up_by_campaign(built: BuiltModels) -> None:
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
    for campaign in {campaign_of(body, built.campaign_key) for body in built.served.values()}:
        batches = [body for body in built.served.values() if campaign_of(body, built.campaign_key) == campaign]
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
    assert len(expected) == 4


def test_daily_credits_has_shares_and_costs(built: BuiltModels) -> None:
    """`daily_credits` has the shares and costs of a day."""
    rows = built.query(
        "SELECT fetched_date, searches, found, credits_claimed, credits_expected, searches_by_profile,"
        " found_by_profile, searches_by_name, found_by_name, share_found, share_found_by_profile,"
        " share_found_by_name, credits_difference, credits_per_found FROM enrow__daily_credits"
    )
    assert {built.loaded.days[0], *(row[0] for row in rows), built.loaded.days[1]} == set(built.loaded.days)
    for _, total, found, claimed, expected, by_profile, profiles, by_name, names, *ratios in rows:
        wanted = [share(found, total), share(profiles, by_profile), share(names, by_name)]
        assert ratios == pytest.approx([*wanted, claimed - expected, share(float(claimed), found)])


def test_coverage_by_country_divides_what_was_found(built: BuiltModels) -> None:
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


def test_duplicate_searches_finds_repeats(built: BuiltModels) -> None:
    """`duplicate_searches` has the persons who were paid for twice."""
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


def test_a_repetition_costs_the_later_credits(built: BuiltModels) -> None:
    """What a repetition cost is what the later batch took."""
    rows = built.query("SELECT person_key, credits_claimed_again FROM enrow__duplicate_searches ORDER BY person_key")
    again = {person.split()[0]: credits_again for person, credits_again in rows}
    assert again["clara"] == 40
    # Which of the two batches came first is up to the connections: 40 credits a phone in the one, 50 in the other.
    assert {again["bruno"], again["linkedin.example/in/alma-marlow"]} <= {40, 50}


def test_the_queries_of_the_readme_run(built: BuiltModels) -> None:
    answers = (built.query(statement) for statement in blocks("sql"))
    by_campaign, by_country, by_kind, attention, twice, funnel, submitting, people = answers
    assert {row[0] for row in by_campaign} == {search.campaign for search in built.searches}
    assert {row[0] for row in by_country} == {s.result["country"] for s in built.searches if s.found}
    assert {row[0] for row in by_kind} == {"profile_url", "name_and_company", "other"}
    assert {"disagrees", "failed", "all-done", UNKNOWN} <= {row[0] for row in attention}
    assert len(twice) == len(MEANT)
    ((campaign, submitted, found, cost, unknown),) = funnel
    assert (campaign, submitted, unknown) == ("leads", len(LEADS), 40 * len(LOST))
    assert cost == 40 * found > 0
    assert submitting == [("leads", len(LEADS) + len(LOST), 0, 0, len(LEADS))]
    assert len(people) == len({search.person for search in built.searches if search.found and search.person})


def test_one_rule_tells_who_is_the_same_person(built: BuiltModels) -> None:
    """The examples that erasing and submitting are tested with: each search names in `custom` who it is for."""
    rows = built.query(
        "SELECT custom, coalesce(person_key, 'nobody') FROM enrow__phone_searches WHERE batch_id = 'spelled'"
    )
    assert len(rows) == len(spelled()) > 40
    assert [(json.loads(custom), key) for custom, key in rows if json.loads(custom) != key] == []


def test_submissions_tell_what_is_held_and_spent(built: BuiltModels) -> None:
    rows = built.query(
        "SELECT batch_id, state, batch_state, campaign, searches, found, credits_held, credits_cost, credits_refunded,"
        " credits_unknown, credits_difference, is_unknown FROM enrow__submissions ORDER BY created_at"
    )
    ((batch_id, body),) = built.loaded.submitted.items()
    held, found = 40 * len(LEADS), body["stats"]["found"]
    cost = held - 40 * (len(LEADS) - found)
    assert rows == [
        (batch_id, "accepted", "completed", "leads", len(LEADS), found, held, cost, held - cost, 0, 0, False),
        (None, "unknown", None, "leads", len(LOST), None, 40 * len(LOST), None, None, 40 * len(LOST), None, True),
    ]
    assert 0 < found < len(LEADS)


def test_people_have_their_newest_number(built: BuiltModels) -> None:
    rows = built.query(
        "SELECT person_key, phone_number, times_searched, times_paid, times_unknown, last_outcome FROM enrow__people"
    )
    people: dict[str, list[Search]] = {}
    for search in built.searches:
        if search.person is not None:
            people.setdefault(search.person, []).append(search)
    lost = {profile_key(search["linkedin_url"]) for search in LOST}
    assert sorted(row[0] for row in rows) == sorted(people.keys() | lost)
    for person, number, times_searched, times_paid, times_unknown, outcome in rows:
        if person in lost:
            assert (number, times_searched, times_paid, times_unknown, outcome) == (None, 0, 0, 1, "unknown")
            continue
        found = [search.result.get("number") for search in people[person] if search.found]
        assert (times_searched, times_paid, times_unknown) == (len(people[person]), len(found), 0)
        assert number in (found or [None])
        assert outcome in {"found" if search.found else "not_found" for search in people[person]}


def dbt_on_copy(built: BuiltModels, folder: Path, statements: str) -> Dbt:
    """Change a copy of the warehouse; return what runs dbt on it."""
    file = folder / "warehouse.duckdb"
    shutil.copy(built.dbt.env["ENROW_WAREHOUSE"], file)
    with duckdb.connect(str(file)) as connection:
        connection.execute(statements)
    return Dbt(Path(built.dbt.command).parent, PACKAGE, folder, ENROW_WAREHOUSE=str(file))


def test_a_warehouse_that_nobody_submitted_to(on_duckdb: BuiltModels, tmp_path: Path) -> None:
    """Where the tables of submitting do not exist, the models are there without them."""
    drop = "; ".join(f"DROP TABLE enrow_data.{table.name}" for table in OPTIONAL)
    dbt = dbt_on_copy(on_duckdb, tmp_path, f"{drop}; DROP SCHEMA enrow CASCADE")
    dbt("build", "--exclude", "test_type:unit")
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        counts = "(SELECT count(*) FROM {}), " * 4
        names = ("enrow__submissions", "stg_enrow__account_credits", "enrow__people", "enrow__phone_searches")
        (row,) = connection.execute(f"USE enrow; SELECT {counts.format(*names)}").fetchall()
    assert row[:2] == (0, 0)
    assert 0 < row[2] < row[3]


@pytest.mark.parametrize("days, fails", [(89, True), (91, False)])
def test_accepted_twice_within_the_window_fails(on_duckdb: BuiltModels, tmp_path: Path, days: int, fails: bool) -> None:
    again = (
        "USE enrow_data;"
        f" INSERT INTO submissions BY NAME SELECT * REPLACE ('again' AS submission_id, 'again' AS batch_id,"
        f" created_at + INTERVAL {days} DAY AS created_at) FROM submissions WHERE state = 'accepted';"
        " INSERT INTO submitted_searches BY NAME SELECT * REPLACE ('again' AS submission_id)"
        " FROM submitted_searches WHERE custom = 'lead-1'"
    )
    dbt = dbt_on_copy(on_duckdb, tmp_path, again)
    ended = called(
        dbt.command, "test", "--select", "nobody_is_accepted_twice_within_the_window", cwd=PACKAGE, env=dbt.env
    )
    assert (ended.returncode != 0) is fails, ended.stdout
    assert ("Got 1 result" in ended.stdout) is fails, ended.stdout


def test_the_page_reads_through_any_driver(built: BuiltModels) -> None:
    """The analysis page reads the models through any driver."""
    with closing(built.connect()) as connection:
        _, page = app.run(defs={"warehouse": connection})
    by_campaign = {row["campaign"]: (row["found"], row["credits"]) for row in page["by_campaign"].to_dict("records")}
    expected = {}
    for campaign in {search.campaign for search in built.searches if search.found}:
        found = [search for search in built.searches if search.found and search.campaign == campaign]
        expected[campaign or "none"] = (len(found), sum(search.claimed or 0 for search in found))
    assert by_campaign.keys() == expected.keys()
    for campaign, message in by_campaign.items():
        assert message == pytest.approx(expected[campaign], abs=1e-3)
    assert page["by_week"]["searches"].sum() == len(built.searches)
    assert page["paid_again"]["searches"].sum() == sum(MEANT.values())
    claimed = sum(body.get("stats", {}).get("credits_cost", 0) for body in built.served.values())
    assert page["bill_by_day"]["claimed"].sum() == claimed
    assert {"disagrees", "failed", "all-done", UNKNOWN} <= set(page["attention"]["Batch"])


def test_freshness_warns_when_the_api_has_not_answered(on_duckdb: BuiltModels) -> None:
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
    always = SOURCES - {table.name for table in OPTIONAL}
    fresh = dict.fromkeys(always - {"batch_errors"}, "pass")  # no error is no staleness
    assert statuses == fresh | {"batches": "warn"}
