"""Run the main job against a simulated API: no key, no account. It writes into the folder `demo` alone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dlt
import duckdb

from enrow_source.testing import Response, SimulatedEnrow, bodies

from ..runner.pipeline import DATASET_NAME, build_pipeline
from ..runner.run import run
from ..submissions.report import SubmissionReport
from ..submissions.submit import submit
from .arguments import Parser

FOLDER = Path("demo")

CELL = 38
"""Characters of a value that are printed; a UUID has 36."""

FILE = FOLDER / "warehouse.duckdb"

BATCHES = """
SELECT batch_id, b.status, requested, found, results_received, credits_cost::BIGINT AS credits_cost
FROM batches AS b JOIN batch_stats USING (batch_id)
ORDER BY batch_id"""

PHONES = """
SELECT batch_id, index, qualification, number, country, params__linkedin_url
FROM phone_results
WHERE params__linkedin_url IS NOT NULL
ORDER BY batch_id DESC, index
LIMIT 2"""

ERRORS = "SELECT batch_id, http_status, kind, message FROM batch_errors"

SPENT = """
SELECT
    CASE WHEN params__linkedin_url IS NULL THEN 'name and company' ELSE 'profile URL' END AS search,
    count(*) AS submitted,
    count(number) AS found,
    40 * count(number) AS credits_spent
FROM submissions AS s JOIN submitted_searches USING (submission_id) JOIN phone_results USING (batch_id, index)
WHERE s.campaign = 'demo'
GROUP BY search
ORDER BY search"""

SHOWN = {
    "Tables batches and batch_stats: the state of each batch, what the API claims, what arrived": BATCHES,
    "Table phone_results, two of its rows: one for each search": PHONES,
    "Table batch_errors: what could not be read": ERRORS,
}

ANSWERS = {
    "What does a found number cost, by country?": """
SELECT r.country, count(*) AS found, round(avg(s.credits_cost / s.found_received)::DOUBLE, 1) AS credits_per_found
FROM phone_results AS r JOIN batch_stats AS s USING (batch_id)
WHERE r.qualification = 'found'
GROUP BY r.country
ORDER BY found DESC
LIMIT 2""",
    "What share is found, by which kind of search?": """
SELECT
    CASE WHEN params__linkedin_url IS NULL THEN 'name and company' ELSE 'profile URL' END AS kind,
    count(*) AS searches,
    round(100 * avg((qualification = 'found')::INT), 1) AS percent_found
FROM phone_results
GROUP BY kind
ORDER BY kind""",
    "Which bill does not agree with what arrived, at 40 credits a number?": """
SELECT
    batch_id,
    credits_cost::BIGINT AS credits_billed,
    40 * found_received AS credits_for_what_arrived
FROM batch_stats
WHERE status = 'completed'
    AND NOT (
        40 * found_received IN (credits_cost, credits_cost - coalesce(credits_to_refund, 0))
        AND requested = results_received AND found = found_received
    )""",
}

NEXT = "With your own key in ENROW_API_KEY, `enrow run` and `enrow submit` do the same."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline twice and ask three questions of the tables; then submit people, and load what is found."""
    Parser(prog="enrow demo", description=__doc__).parse_args(arguments)
    FOLDER.mkdir(exist_ok=True)
    FILE.unlink(missing_ok=True)
    shutil.rmtree(FOLDER / "pipelines", ignore_errors=True)
    with SimulatedEnrow() as api:
        batch_ids = _submitted(api)
        print(f"A simulated Enrow API at {api.url} knows these batches, but for the last:")
        print(f"  {', '.join(batch_ids)}")

        _head("First run")
        _run(api, batch_ids)
        for tables, query in SHOWN.items():
            print(tables)
            _show(query)

        _head("Second run: what is complete is not fetched again, the ongoing batch completes")
        _run(api, batch_ids)
        for question, query in ANSWERS.items():
            print(f"== {question}")
            _show(query)
        _submit(api)
    print(f"\nThe tables are in {FILE}, schema {DATASET_NAME}. {NEXT}")
    return 0


def _head(text: str) -> None:
    print(f"\n== {text}")


def _submitted(api: SimulatedEnrow) -> list[str]:
    return [
        api.add_documented(),
        api.add_completed("batch-of-3000"),
        api.add_ongoing("batch-in-progress", 1, 25),
        # Billed as on an older plan, at 50 credits a number.
        api.respond(
            "batch-rate-limited",
            Response.rate_limited(1),
            bodies.completed("batch-rate-limited", 300, credits_per_phone=50),
        ),
        api.add_failed("batch-that-failed"),
        "batch-nobody-knows",
    ]


def _run(api: SimulatedEnrow, batch_ids: list[str]) -> None:
    before = len(api.requests)
    pipeline = build_pipeline(dlt.destinations.duckdb(str(FILE)), pipelines_dir=str(FOLDER / "pipelines"))
    report = run(batch_ids, pipeline=pipeline, enrow_api_key=api.api_key, enrow_base_url=api.url)
    counts = [line.split() for line in str(report).splitlines() if not line.startswith(("in ", "rows loaded"))]
    print(", ".join(" ".join(words) for words in counts))
    fetched = [str(request.batch_id) for request in api.requests[before:] if request.batch_id]
    print("GET:", ", ".join(fetched))


def _submit(api: SimulatedEnrow) -> None:
    """Submit people, load what became of them without naming an id, and submit them again."""
    people = bodies.searches("leads", 12, api.seed)
    pipeline = build_pipeline(
        dlt.destinations.duckdb(str(FILE)), pipeline_name="enrow_submissions", pipelines_dir=str(FOLDER / "pipelines")
    )
    options: dict[str, Any] = {"enrow_api_key": api.api_key, "enrow_base_url": api.url, "campaign": "demo"}
    _head("People who are to be called: what would submitting them hold?")
    print(submit(people, pipeline=pipeline, max_credits=500, dry_run=True, **options))
    _head("The same in earnest; what is accepted is then loaded without naming an id")
    _tell(submit(people, pipeline=pipeline, max_credits=500, **options), "accepted", "credits held  ", "balance after")
    api.finish()
    _run(api, [])
    _show(SPENT)
    _head("Submitted once more: nobody is paid for twice")
    _tell(submit(people, pipeline=pipeline, max_credits=500, **options), "left out", "accepted")


def _tell(report: SubmissionReport, *beginnings: str) -> None:
    """Print in one line what the lines of a report say that begin so."""
    lines = [line.split() for line in str(report).splitlines() if line.startswith(beginnings)]
    print(", ".join(" ".join(words) for words in lines))


def _show(query: str) -> None:
    """Print what a query gives, a line for each row; the tables that it reads are named above."""
    with duckdb.connect(str(FILE), read_only=True) as connection:
        connection.execute(f"USE {DATASET_NAME}")
        found = connection.execute(query)
        names = [column[0] for column in found.description or ()]
        lines = [names, *([_text(value) for value in row] for row in found.fetchall())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _text(value: object) -> str:
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= CELL else f"{text[: CELL - 3]}..."
