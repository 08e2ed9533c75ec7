"""Six weeks of made-up batches for the analysis page: `python -m notebooks.demo_data FILE`, as `make notebook` does.

The real pipeline loads them from the simulated API at once; then their times are moved back, each batch to its day.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import dlt
import duckdb

from enrow_source.destination.credits import credits_row
from enrow_source.destination.row_log import append_rows
from enrow_source.runner.pipeline import DATASET_NAME, build_pipeline
from enrow_source.runner.run import run
from enrow_source.submissions.submit import submit
from enrow_source.testing import SimulatedEnrow, bodies

DAYS = 42
BATCHES = 72
OLDER_PLAN_CREDITS = 50
UNKNOWN = "batch-nobody-knows"
SUBMISSIONS = 8


@dataclass(frozen=True, slots=True)
class Campaign:
    """What its batches are like; shares from 0 to 1."""

    name: str
    share_by_profile: float
    """Share found of the searches by profile URL."""
    share_by_name: float
    searches: tuple[int, int]
    """Fewest and most searches in a batch."""


CAMPAIGNS = (
    Campaign("Spring outreach", 0.74, 0.52, (120, 340)),
    Campaign("Trade fair leads", 0.66, 0.44, (60, 240)),
    Campaign("Reactivation", 0.58, 0.35, (80, 260)),
    Campaign("Partner list", 0.69, 0.48, (40, 160)),
)
PARTNERS = "Partner list"
"""The campaign whose first batches were billed as on an older plan."""


def main(arguments: Sequence[str]) -> None:
    """Make a new warehouse."""
    (name,) = arguments
    file = Path(name)
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    with SimulatedEnrow(credits=30_000) as api, tempfile.TemporaryDirectory() as folder:
        age_days = _add_batches(api)
        pipeline = build_pipeline(dlt.destinations.duckdb(str(file)), pipelines_dir=folder)
        submitted, balance_days = _submit(api, pipeline)
        print(run(list(age_days), pipeline=pipeline, enrow_api_key=api.api_key, enrow_base_url=api.url))
    _move_back(file, age_days, submitted, [*balance_days, 0.0])


def _submit(api: SimulatedEnrow, pipeline: dlt.Pipeline) -> tuple[dict[str, float], list[float]]:
    """Submit people, a batch every few days, one of which nobody can tell about.

    Returns:
        How many days ago each submission was made, and each balance was asked for, in their order.
    """
    api.fault_posts(*[None] * (SUBMISSIONS - 2), "refuse-then-drop", None)
    age_days: dict[str, float] = {}
    balance_days: list[float] = []
    for number in range(SUBMISSIONS):
        campaign, days = CAMPAIGNS[number % len(CAMPAIGNS)], DAYS * (1 - (number + 0.5) / SUBMISSIONS)
        if number == SUBMISSIONS // 2:
            api.credits += 20_000  # some are bought
        people = bodies.searches(f"leads-{number}", campaign.searches[0], seed=number)
        report = submit(
            [*people, *people[: 3 * number]],  # some are there twice
            pipeline=pipeline,
            max_credits=api.credits,
            campaign=campaign.name,
            enrow_api_key=api.api_key,
            enrow_base_url=api.url,
        )
        age_days |= {one.submission_id: days for one in report.submissions}
        api.finish()
        append_rows(pipeline, [credits_row("run", f"run-{number}", api.credits)])
        balance_days += [days, days - 0.2]
    return age_days, balance_days


def _add_batches(api: SimulatedEnrow) -> dict[str, float]:
    """Add the batches; return how many days ago each was last fetched."""
    random = Random(7)  # noqa: S311 - made-up data, the same each time
    age_days: dict[str, float] = {}
    before: list[dict[str, str]] = []
    for number in range(BATCHES):
        campaign = random.choices(CAMPAIGNS, weights=(4, 3, 2, 2))[0]
        batch_id = f"batch-{number:02d}"
        age_days[batch_id] = DAYS * (1 - number / BATCHES) * random.uniform(0.97, 1)
        searches = bodies.searches(batch_id, random.randint(*campaign.searches), seed=number)
        again = random.sample(before, k=min(len(before), random.choice((0, 0, 0, 6, 14))))
        body = _answered(batch_id, [*searches, *again], campaign, number, random)
        before += searches
        api.respond(batch_id, body)
    cut_short = bodies.completed("batch-cut-short", 120, custom={"campaign": CAMPAIGNS[1].name})
    del cut_short["results"][90:]
    api.respond("batch-cut-short", cut_short)
    api.respond("batch-all-done", bodies.ongoing("batch-all-done", 80, 80))
    api.respond("batch-forgotten", bodies.ongoing("batch-forgotten", 200, 35))
    api.respond("batch-at-work", bodies.ongoing("batch-at-work", 150, 60))
    api.add_failed("batch-failed")
    return age_days | {
        "batch-cut-short": 12.2,
        "batch-failed": 9.4,
        "batch-all-done": 0.1,
        "batch-forgotten": 4.3,
        "batch-at-work": 0.1,
        UNKNOWN: 2.6,
    }


def _answered(
    batch_id: str, searches: list[dict[str, str]], campaign: Campaign, number: int, random: Random
) -> bodies.Body:
    """Answer the searches by profile and those by name, each with the share that is found of its kind."""
    is_older = campaign.name == PARTNERS and number < BATCHES / 3
    variants: bodies.Variants = {"credits_per_phone": OLDER_PLAN_CREDITS} if is_older else {}
    parts = [
        bodies.answering(
            f"{batch_id}-{kind}",
            [search for search in searches if ("linkedin_url" in search) == (kind == "profile")],
            min(1.0, share * random.uniform(0.9, 1.1)),
            number,
            **variants,
        )
        for kind, share in (("profile", campaign.share_by_profile), ("name", campaign.share_by_name))
    ]
    results: list[Any] = [result for part in parts for result in part["results"]]
    for index, result in enumerate(results):
        result["index"] = index
    stats = {name: sum(part["stats"][name] for part in parts) for name in parts[0]["stats"]}
    general = {"id": batch_id, "status": "completed", "custom": {"campaign": campaign.name}}
    return {"general": general, "stats": stats, "results": results}


def _move_back(file: Path, age_days: dict[str, float], submitted: dict[str, float], balance_days: list[float]) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TEMP TABLE ages (batch_id TEXT, age_days DOUBLE)")
        connection.execute("CREATE TEMP TABLE submitted (submission_id TEXT, age_days DOUBLE)")
        connection.execute("CREATE TEMP TABLE balances (position BIGINT, age_days DOUBLE)")
        connection.executemany("INSERT INTO ages VALUES (?, ?)", list(age_days.items()))
        connection.executemany("INSERT INTO submitted VALUES (?, ?)", list(submitted.items()))
        connection.executemany("INSERT INTO balances VALUES (?, ?)", list(enumerate(balance_days, 1)))
        connection.execute(f"USE {DATASET_NAME}")
        # A batch that was submitted is as old as its submission.
        connection.execute(
            "INSERT INTO ages SELECT batch_id, age_days - 0.2 FROM submissions JOIN submitted USING (submission_id)"
            " WHERE batch_id IS NOT NULL"
        )
        connection.execute(
            "CREATE TEMP TABLE moved_balances AS SELECT run_id, age_days FROM balances"
            " JOIN (SELECT run_id, row_number() OVER (ORDER BY checked_at) AS position FROM account_credits)"
            " USING (position)"
        )
        connection.execute(
            "SELECT table_name, list(column_name) FROM information_schema.columns"
            " WHERE table_schema = ? GROUP BY ALL HAVING count_if(column_name = 'batch_id') > 0",
            [DATASET_NAME],
        )
        moved = [
            (table, "batch_id", "ages", column)
            for table, columns in connection.fetchall()
            for column in {"first_seen_at", "fetched_at"} & set(columns)
        ]
        moved += [("submissions", "submission_id", "submitted", column) for column in ("created_at", "ended_at")]
        moved += [("account_credits", "run_id", "moved_balances", "checked_at")]
        connection.execute("CREATE TEMP TABLE moved_runs AS SELECT run_id AS submit_id, age_days FROM moved_balances")
        moved += [("submit_runs", "submit_id", "moved_runs", column) for column in ("started_at", "ended_at")]
        for table, key, ages, column in moved:
            connection.execute(
                f"UPDATE {table} AS moved"  # noqa: S608 - names from the catalogue, and our own
                f" SET {column} = {column} - to_microseconds((age_days * 86400e6)::BIGINT)"
                f" FROM {ages} WHERE moved.{key} = {ages}.{key}"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
