"""Submits people as batches, at most once, within a budget: the steps of `protocol`, done.

API: `POST https://api.enrow.io/phone/bulk`, `GET https://api.enrow.io/account/info`, https://enrow.readme.io
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import Any

import dlt
import msgspec
from dlt.common import logger

from ..api.access import checked_is_set
from ..api.submission import SubmissionClient
from ..destination.credits import compare_credits, credits_row, least_credits
from ..destination.load_lock import held_database
from ..destination.row_log import append_row
from ..errors import ConfigurationError
from ..settings import (
    LEASE_WAIT_S,
    RETRY_NOT_FOUND_AFTER_DAYS,
    SEARCHES_PER_BATCH,
)
from ..tables.privacy import Privacy
from ..tables.schema import SUBMISSIONS
from .configured import SubmitSettings
from .history import History, read_history
from .lease import Lease
from .people import check_rows
from .plan import Intake, SubmissionPlan, SubmitOptions, make_plan
from .protocol import (
    Action,
    Budget,
    CheckLease,
    CommitIntent,
    MakePlan,
    Post,
    ProtocolResult,
    Record,
    ReleaseLease,
    Submission,
    SubmissionState,
    TakeLease,
    Wait,
    steps,
)
from .report import SubmissionReport, planned
from .run_log import SubmitRun
from .sources import rows_of
from .store import Store, Submitted


def submit(  # noqa: PLR0913 - each is an option of the command
    people: Any,  # noqa: ANN401 - see sources.People
    *,
    pipeline: dlt.Pipeline,
    max_credits: float | None = None,
    dry_run: bool = False,
    limit: int | None = None,
    batch_size: int = SEARCHES_PER_BATCH,
    campaign: str | None = None,
    custom: Mapping[str, Any] | None = None,
    webhook: str | None = None,
    retry_not_found_after_days: float = RETRY_NOT_FOUND_AFTER_DAYS,
    refresh_found_after_days: float | None = None,
    credits_per_found: float | None = None,
    enrow_api_key: str | None = None,
    enrow_base_url: str | None = None,
    stop: Event | None = None,
) -> SubmissionReport:
    """Submit people as batches: each at most once, and none that was found, is being searched, or was erased.

    `submissions` and `submitted_searches`, in the dataset of the pipeline, say what became of each; `enrow run` loads
    the accepted ones from then on.

    Args:
        people: Mappings with `linkedin_url`, or `firstname`, `lastname` and `company_domain` or `company_name`, each
            also with `custom`, the user's own key of the row; or a dlt resource, an Arrow table, a data frame of such.
        pipeline: Names destination and dataset.
        max_credits: The most credits that the API may hold for the run; it holds those of all searches at first. It
            has no default, and a dry run does without.
        dry_run: Send nothing and write nothing: only report what would be sent.
        limit: The most people to submit: a sample.
        batch_size: Searches in a batch, 1 to 3,000.
        campaign: Kept in `submissions`, and sent in the `custom` of the batch.
        custom: Further keys for the `custom` of the batch.
        webhook: https URL that the API calls when a batch has ended.
        retry_not_found_after_days: Days after which somebody who was not found is searched again.
        refresh_found_after_days: Days after which somebody who was found is searched again; None for never.
        credits_per_found: By default `credits_per_found` under `[sources.enrow]`, else 40.
        enrow_api_key: By default the configured one.
        enrow_base_url: By default the configured one.
        stop: Ends the run between two batches, when it is set: for a signal handler.

    Raises:
        ConfigurationError: Something to fix in the call, the settings, the people or the budget; nothing was sent.
        InvalidApiKeyError: The API refused the key before anything was sent.
        BatchError: The API did not report the balance; nothing was sent.
        BusyError: Another run is at work in a file of DuckDB; nothing was sent.
    """
    settings = SubmitSettings.read()
    options = SubmitOptions(
        max_credits,
        limit,
        batch_size,
        retry_not_found_after_days,
        refresh_found_after_days,
        settings.credits_per_found if credits_per_found is None else credits_per_found,
        campaign,
        custom or {},
        webhook,
    )
    if max_credits is None and not dry_run:
        raise ConfigurationError(
            "max_credits is missing: name the most credits that may be held; dry_run says how many it takes"
        )
    key = checked_is_set(enrow_api_key or settings.enrow_api_key)
    privacy = settings.privacy()
    least_credits()
    stop = stop or Event()
    with (
        held_database(pipeline, LEASE_WAIT_S, stop.is_set, creates=not dry_run),
        SubmissionClient(key, enrow_base_url or settings.enrow_base_url, connections=1) as client,
    ):
        intake = Intake.of(check_rows(rows_of(people)))
        store = Store(pipeline)
        run = _Run(store, client, intake, options, privacy, stop, SubmitRun(intake.rows, campaign))
        if dry_run and store.is_missing:
            return run.dry(History(), [])
        with store:
            return run.dry(run.history(), run.unresolved()) if dry_run else run.real()


@dataclass(slots=True)
class _Run:
    """One run: what does the actions of the protocol."""

    store: Store
    client: SubmissionClient
    intake: Intake
    options: SubmitOptions
    privacy: Privacy
    stop: Event
    log: SubmitRun
    balance: float | None = None
    unrecorded: dict[str, str] = field(default_factory=dict)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def dry(self, history: History, unresolved: Sequence[Submitted]) -> SubmissionReport:
        """Return what would be sent."""
        plan = self._plan(history)
        over_budget = None
        try:
            allowed = self.options.max_credits
            plan.check_budget(plan.credits_held_max if allowed is None else allowed, self.balance)
        except ConfigurationError as error:
            over_budget = str(error)
        return planned(plan, self.balance, unresolved, over_budget)

    def real(self) -> SubmissionReport:
        """Submit."""
        self.store.create_tables()
        lease = Lease(self.store)
        budget = Budget(self.options.max_credits or 0.0, self.options.credits_per_found)
        try:
            try:
                result = self._do(lease, budget)
            finally:
                lease.release()
            report = self._report(result)
        except Exception as error:  # whatever it is, what was read and sent is counted; raised again
            self._log(error)
            raise
        self._log(report)
        return report

    def _log(self, ended: SubmissionReport | Exception) -> None:
        append_row(self.store.pipeline, self.store.job_client, self.log.row(ended))

    def _do(self, lease: Lease, budget: Budget) -> ProtocolResult:
        run = steps(budget, should_stop=self.stop.is_set)
        done: Any = None
        while True:
            try:
                action = run.send(done)
            except StopIteration as end:
                result: ProtocolResult = end.value
                return result
            done = self._act(action, lease)

    def _act(self, action: Action, lease: Lease) -> Any:  # noqa: ANN401, PLR0911 - one result for each action
        match action:
            case TakeLease():
                return lease.take(self.stop.is_set)
            case MakePlan():
                self.store.call_intended_unknown()
                plan = self._plan(self.history())
                plan.check_budget(self.options.max_credits, self.balance)
                return plan
            case CommitIntent(submission):
                return self.store.commit_intent(submission, self.options.campaign, self.privacy)
            case CheckLease():
                return lease.renew()
            case Post(submission):
                return self.client.post_batch(self._body(submission))
            case Record(submission, outcome):
                self.log.count(submission, outcome)
                if not self.store.record(submission.submission_id, outcome) and outcome.batch_id is not None:
                    # The log is the last place that has it; the batch resolves the submission, once it is loaded.
                    logger.critical(f"submission {submission.submission_id} was accepted as batch {outcome.batch_id}")
                    self.unrecorded[submission.submission_id] = outcome.batch_id
                return None
            case Wait(attempt, retry_after_s):
                return self.stop.wait(self.client.wait_s(attempt, retry_after_s))
            case ReleaseLease():
                return lease.release()

    def history(self) -> History:
        """Read what is known of the people."""
        return read_history(self.store, self.intake.people, self.privacy)

    def _plan(self, history: History) -> SubmissionPlan:
        plan = make_plan(self.intake, history.of, history.shares, self.options, self.clock())
        self.log.plan = plan
        self.balance = self.client.fetch_credits()
        return plan

    def _body(self, submission: Submission) -> bytes:
        custom = {**self.options.custom, "submission": submission.submission_id}
        if self.options.campaign is not None:
            custom["campaign"] = self.options.campaign
        body: dict[str, Any] = {"searches": [person.body for person in submission.people], "custom": custom}
        if self.options.webhook is not None:
            body["settings"] = {"webhook": self.options.webhook}
        return msgspec.json.encode(body)

    def unresolved(self) -> list[Submitted]:
        """Return all submissions of the dataset that nobody can tell about."""
        if not self.store.has(SUBMISSIONS.name):
            return []
        return self.store.submissions(SubmissionState.INTENDED, SubmissionState.UNKNOWN)

    def _report(self, result: ProtocolResult) -> SubmissionReport:
        plan = result.plan
        after = self.balance
        if result.outcomes:
            with suppress(Exception):  # everything is sent and recorded: a balance that is not reported changes nothing
                after = self.client.fetch_credits()
        if plan is not None:
            append_row(self.store.pipeline, self.store.job_client, credits_row("submit", self.log.submit_id, after))
            compare_credits(after)
        own = [one for one in self.store.submissions() if one.submission_id in result.outcomes]
        return SubmissionReport(
            dry_run=False,
            rows=self.intake.rows,
            left_out=plan.left_out if plan else {},
            invalid=(*self.intake.invalid, *result.invalid),
            searches=plan.searches if plan else 0,
            batches=len(plan.batches) if plan else 0,
            credits_held_max=plan.credits_held_max if plan else 0.0,
            credits_expected=plan.credits_expected if plan else None,
            balance_before=self.balance,
            balance_after=after,
            submissions=own,
            unresolved=self.unresolved(),
            end=result.end,
            unrecorded=self.unrecorded,
        )
