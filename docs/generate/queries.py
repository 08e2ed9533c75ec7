"""The example queries of the tables: what a data team asks first, answered on the loaded tables alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Query:
    """A question, and the statement that answers it on any SQL destination."""

    question: str
    statement: str


QUERIES: Final[Mapping[str, tuple[Query, ...]]] = {
    "submissions": (
        Query(
            "What became of what was submitted, and what is held for it?",
            """
            SELECT state, count(*) AS submissions, sum(searches) AS searches, sum(credits_held) AS credits_held
            FROM submissions
            GROUP BY state
            ORDER BY state
            """,
        ),
    ),
    "submitted_searches": (
        Query(
            "Who was submitted for which campaign, and under which key of our own?",
            """
            SELECT campaign, state, person_key, custom
            FROM submitted_searches JOIN submissions USING (submission_id)
            ORDER BY person_key
            """,
        ),
    ),
    "submission_lease": (
        Query(
            "Is somebody submitting?",
            """
            SELECT holder, held_until
            FROM submission_lease
            """,
        ),
    ),
    "submit_runs": (
        Query(
            "How many people were read, left out and submitted, by campaign?",
            """
            SELECT
                campaign, sum(rows_read) AS rows_read, sum(left_out_found) AS found_already,
                sum(rows_read - searches) AS left_out, sum(searches_accepted) AS accepted
            FROM submit_runs
            GROUP BY campaign
            """,
        ),
    ),
    "account_credits": (
        Query(
            "What did the account have at each run?",
            """
            SELECT checked_at, command, credits
            FROM account_credits
            ORDER BY checked_at, credits
            """,
        ),
    ),
    "batches": (
        Query(
            "Which batches have not ended, and when were they last fetched?",
            """
            SELECT batch_id, status, fetched_at AS last_fetched_at
            FROM batches
            WHERE status NOT IN ('completed', 'failed')
            ORDER BY fetched_at
            """,
        ),
        Query(
            "Is the data fresh?",
            """
            SELECT status, count(*) AS batches, max(fetched_at) AS last_answer
            FROM batches
            GROUP BY status
            ORDER BY status
            """,
        ),
    ),
    "batch_stats": (
        Query(
            "What did a found number cost, batch by batch?",
            """
            SELECT
                batch_id, found_received, credits_cost, credits_to_refund,
                credits_cost / nullif(found_received, 0) AS per_found_if_net,
                (credits_cost - coalesce(credits_to_refund, 0)) / nullif(found_received, 0) AS per_found_if_gross
            FROM batch_stats
            WHERE status = 'completed'
            ORDER BY batch_id
            """,
        ),
        Query(
            "Where does the bill not agree with what arrived, at 40 credits a number?",
            """
            SELECT
                batch_id,
                requested - results_received AS results_missing,
                found - found_received AS found_missing,
                credits_cost - 40 * found_received AS credits_too_many
            FROM batch_stats
            WHERE status = 'completed'
                AND (
                    requested <> results_received OR found <> found_received
                    OR (
                        credits_cost <> 40 * found_received
                        AND credits_cost - coalesce(credits_to_refund, 0) <> 40 * found_received
                    )
                )
            ORDER BY batch_id
            """,
        ),
    ),
    "phone_results": (
        Query(
            "What share is found, by which kind of search?",
            """
            SELECT
                CASE WHEN params__linkedin_url IS NULL THEN 'name and company' ELSE 'profile URL' END AS kind,
                count(*) AS searches,
                count(CASE WHEN qualification = 'found' THEN 1 END) AS found,
                round(avg(CASE WHEN qualification = 'found' THEN 100.0 ELSE 0 END), 1) AS percent_found
            FROM phone_results
            GROUP BY CASE WHEN params__linkedin_url IS NULL THEN 'name and company' ELSE 'profile URL' END
            ORDER BY kind
            """,
        ),
        Query(
            "What does a found number cost, by country?",
            """
            SELECT
                r.country,
                count(*) AS found,
                avg(s.credits_cost / nullif(s.found_received, 0)) AS credits_per_found
            FROM phone_results AS r
            INNER JOIN batch_stats AS s ON s.batch_id = r.batch_id
            WHERE r.qualification = 'found'
            GROUP BY r.country
            ORDER BY found DESC, r.country
            """,
        ),
        Query(
            "Who was searched twice, and paid for twice?",
            """
            SELECT
                lower(params__linkedin_url) AS profile,
                count(*) AS times_paid,
                count(DISTINCT batch_id) AS batches
            FROM phone_results
            WHERE qualification = 'found' AND params__linkedin_url IS NOT NULL
            GROUP BY lower(params__linkedin_url)
            HAVING count(*) > 1
            ORDER BY times_paid DESC, profile
            """,
        ),
    ),
    "phone_results_ledger": (
        Query(
            "Are all rows there that were loaded?",
            """
            SELECT l.batch_id, l.results_loaded, count(r.batch_id) AS rows_there
            FROM phone_results_ledger AS l
            LEFT JOIN phone_results AS r ON r.batch_id = l.batch_id
            GROUP BY l.batch_id, l.results_loaded
            ORDER BY l.batch_id
            """,
        ),
    ),
    "batch_errors": (
        Query(
            "Which batches cannot be read, since when, and how often was it tried?",
            """
            SELECT e.batch_id, max(e.kind) AS kind, min(e.fetched_at) AS since, count(*) AS tries
            FROM batch_errors AS e
            LEFT JOIN batches AS b ON b.batch_id = e.batch_id
            WHERE b.batch_id IS NULL OR e.fetched_at > b.fetched_at
            GROUP BY e.batch_id
            ORDER BY since
            """,
        ),
    ),
    "deferred_batch_ids": (
        Query(
            "Which ids are left to later runs?",
            """
            SELECT d.batch_id, d.deferred_at, d.unknown_answers, d.given_up_at
            FROM deferred_batch_ids AS d
            LEFT JOIN batches AS b ON b.batch_id = d.batch_id
            WHERE b.batch_id IS NULL
            ORDER BY d.batch_id
            """,
        ),
    ),
    "enrow_runs": (
        Query(
            "How did the runs end, by who started them?",
            """
            SELECT trigger, outcome, count(*) AS runs, sum(fetched) AS fetched, sum(rows_loaded) AS rows_loaded
            FROM enrow_runs
            GROUP BY trigger, outcome
            ORDER BY trigger, outcome
            """,
        ),
    ),
    "enrow_erasures": (
        Query(
            "What was erased, and how many rows went?",
            """
            SELECT subject, count(*) AS erasures, sum(phone_results_rows) AS rows_of_phone_results
            FROM enrow_erasures
            GROUP BY subject
            ORDER BY subject
            """,
        ),
    ),
}
