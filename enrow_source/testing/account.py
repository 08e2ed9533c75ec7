"""The account of the simulated API: the POSTs that spend its credits, and the batches that they become."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event
from typing import Any, Literal
from uuid import UUID

from . import bodies
from .accepted import AcceptedBatch, EventForm, finished_event
from .batches import Batches
from .faults import FaultLike, FaultPlan, PostFault
from .journal import Journal, read_journal
from .payload import Payload, parse_payload
from .responses import Response, encoded
from .rules import AccountRules, RateLimit


class Account(Batches):
    """An account that pays for batches: a POST holds the credits of all its searches, its end gives some back.

    credits: those left; may be set at any time. rules: may be replaced at any time.
    webhooks: addresses that the account lists; none is ever called.

    A batch ends once, by its fetches, by time, or by `finish`; then it has a webhook event, and expires.
    """

    def __init__(  # noqa: PLR0913 - SimulatedEnrow is where a person meets them, with defaults
        self,
        *,
        seed: int,
        unknown_id_status: Literal[400, 404],
        fetches_to_complete: int,
        credits: int,  # noqa: A002 - the API's own name
        rules: AccountRules,
        journal: Path | None,
    ) -> None:
        """Open the account, as the journal left it where there is one."""
        super().__init__(seed=seed, unknown_id_status=unknown_id_status)
        self.fetches_to_complete = fetches_to_complete
        self.credits = credits
        self.rules = rules
        self.webhooks = ["https://hooks.example/enrow"]
        self._accepted: dict[str, AcceptedBatch] = {}
        # Ids, in the order in which they were accepted, and in that in which they ended.
        self._in_progress: dict[str, None] = {}
        self._ended: list[str] = []
        self._bodies: dict[str, bytes] = {}
        self._faults = FaultPlan(seed)
        self._rate = RateLimit()
        self._stopping = Event()
        self._posts = 0
        self._journal = None if journal is None else Journal(journal)
        if journal is not None:
            state = read_journal(journal)
            self._posts = state.posts
            for batch in state.accepted:
                self.credits -= batch.credits_cost
                self._take_on(batch)

    def fault_posts(self, *faults: FaultLike) -> None:
        """Let these faults happen to the next POSTs, one each; None, or `none`, is a POST that goes well.

        A POST is one with a good key that the rate limit lets through. Names are those of `FAULT_NAMES`.
        """
        self._faults.script(*faults)

    def fault_posts_by_chance(self, shares: Mapping[str, float]) -> None:
        """Let faults happen to a share of the POSTs that `fault_posts` leaves: the same ones for the same seed."""
        self._faults.by_chance(shares)

    def info(self) -> Response:
        """Answer `GET /account/info`: `{"credits": 8500, "webhooks": [...]}`, which costs nothing."""
        self.settle()
        return Response(body={"credits": self.credits, "webhooks": self.webhooks})

    def submit(self, body: bytes) -> Response:
        """Answer `POST /phone/bulk`."""
        rules = self.rules
        if not rules.phones_allowed:
            return Response.not_allowed()
        if rules.posts_per_s is not None and (wait_s := self._rate.wait_s(rules.posts_per_s)):
            return Response.rate_limited_as(rules.wait_form, wait_s)
        with self._lock:
            post = self._posts
            self._posts += 1
        fault = self._faults.take(post)
        if fault is not None and self._stopping.wait(fault.before_s):
            return Response.dropped()
        payload = parse_payload(body, rules)
        if fault is not None and not fault.accepts:
            count = len(payload.searches) if isinstance(payload, Payload) else 0
            response = fault.respond(Response(), count)
        elif isinstance(payload, Response):
            response = payload
        else:
            accepted = self._accept(payload, post, fault, rules)
            if accepted is not None:
                honest = _created(accepted)
                return honest if fault is None else fault.respond(honest, len(accepted.searches))
            response = rules.out_of_credits
        with self._lock:
            if self._journal is not None:
                self._journal.refused(post, response.status, None if fault is None else fault.name)
        return response

    def _accept(
        self, payload: Payload, post: int, fault: PostFault | None, rules: AccountRules
    ) -> AcceptedBatch | None:
        # Credits of all searches are taken when the POST is accepted.
        count = len(payload.searches)
        held = rules.credits_per_phone * count
        self.settle()
        with self._lock:
            if held > self.credits:
                return None
            number = Random(f"{self.seed}/submitted/{len(self._accepted)}")
            batch = AcceptedBatch(
                batch_id=str(UUID(bytes=number.randbytes(16), version=4)),
                searches=payload.searches,
                custom=payload.custom,
                settings=payload.settings,
                post=post,
                fault=None if fault is None else fault.name,
                accepted_at=datetime.now(UTC),
                credits_held=held,
                found=round(count * rules.found_share),
            )
            if self._journal is not None:
                self._journal.accepted(batch)
            self.credits -= held
            self._take_on(batch)
        return batch

    @property
    def accepted(self) -> list[AcceptedBatch]:
        """All batches that were accepted, as they stand now, in that order, whatever responses their clients got."""
        self.settle()
        with self._lock:
            return list(self._accepted.values())

    def finish(self, *batch_ids: str, failed: bool = False) -> list[str]:
        """End these batches now, or all that are in progress if none is named; return those that it ended.

        failed: end them as failed, found nothing and refunded whole; no page documents what a failed batch costs.
        """
        with self._lock:
            ended = [batch_id for batch_id in batch_ids or tuple(self._in_progress) if batch_id in self._in_progress]
            for batch_id in ended:
                self._end(batch_id, failed=failed)
        return ended

    def settle(self) -> None:
        """End the batches whose time has come, so that the balance and the events show it unasked."""
        seconds = self.rules.completes_after_s
        if seconds is None:
            return
        with self._lock:
            accepted_until = datetime.now(UTC) - timedelta(seconds=seconds)
            for batch_id in list(self._in_progress):
                if self._accepted[batch_id].accepted_at <= accepted_until:
                    self._end(batch_id)

    def events(self, form: EventForm = "cost", repeats: int = 1) -> list[dict[str, Any]]:
        """Return the webhook event of each batch that ended, in that order, each `repeats` times.

        form: which documented payload. Duplicates are to be expected, as the documentation says.
        """
        self.settle()
        with self._lock:
            ended = [self._accepted[batch_id] for batch_id in self._ended]
        return [
            finished_event(batch.batch_id, batch.credits_cost, batch.balance, form)
            for batch in ended
            for _ in range(repeats)
        ]

    def _take_on(self, batch: AcceptedBatch) -> None:
        # A journal brings batches that have ended already. The lock is held by whoever calls.
        self._accepted[batch.batch_id] = batch
        if batch.finished_at is None:
            self._in_progress[batch.batch_id] = None
        else:
            self._ended.append(batch.batch_id)
            self._ended.sort(key=lambda i: self._accepted[i].finished_at or datetime.max.replace(tzinfo=UTC))
        self.respond(batch.batch_id, lambda fetch: self._show(batch.batch_id, fetch))

    def _end(self, batch_id: str, *, failed: bool = False) -> None:
        # Credits of what is not found are given back when the batch ends. The lock is held by whoever calls.
        batch = self._accepted[batch_id]
        each = batch.credits_held // len(batch.searches)
        found = 0 if failed else batch.found
        refunded = batch.credits_held - each * found
        ended = replace(
            batch,
            status="failed" if failed else "completed",
            found=found,
            finished_at=datetime.now(UTC),
            credits_refunded=refunded,
            balance=self.credits + refunded,
        )
        if self._journal is not None:
            self._journal.finished(ended)
        self.credits += refunded
        self._accepted[batch_id] = ended
        self._ended.append(batch_id)
        del self._in_progress[batch_id]

    def _show(self, batch_id: str, fetch: int) -> Response:
        rules = self.rules
        self.settle()
        if rules.completes_after_s is None and fetch >= self.fetches_to_complete:
            self.finish(batch_id)
        batch = self._accepted[batch_id]
        if batch.finished_at is None:
            return Response(rules.ongoing_status, self._in_progress_body(batch, fetch, rules))
        if rules.expires_after_s is not None and datetime.now(UTC) - batch.finished_at >= timedelta(
            seconds=rules.expires_after_s
        ):
            return self.unknown
        if batch_id not in self._bodies:
            self._bodies[batch_id] = encoded(self._ended_body(batch, rules))
        return Response(body=self._bodies[batch_id])

    def _in_progress_body(self, batch: AcceptedBatch, fetch: int, rules: AccountRules) -> dict[str, Any]:
        if rules.completes_after_s is None:
            share = fetch / self.fetches_to_complete
        else:
            share = (datetime.now(UTC) - batch.accepted_at).total_seconds() / (rules.completes_after_s or 1)
        count = len(batch.searches)
        body = bodies.ongoing(batch.batch_id, count, min(count - 1, int(count * share)))
        if rules.custom_while_ongoing and batch.custom is not None:
            body["general"]["custom"] = batch.custom
        return body

    def _ended_body(self, batch: AcceptedBatch, rules: AccountRules) -> dict[str, Any]:
        count = len(batch.searches)
        if batch.status == "failed":
            body = bodies.failed(batch.batch_id)
            if batch.custom is not None:
                body["general"]["custom"] = batch.custom
        else:
            body = bodies.answering(
                batch.batch_id, batch.searches, batch.found / count, self.seed, **_variants(batch, rules)
            )
        if rules.echo_settings:
            body["settings"] = dict(batch.settings)
        return body


def _created(batch: AcceptedBatch) -> Response:
    """201, as documented; the duration is in minutes and not guaranteed."""
    return Response(
        201,
        {
            "message": "Bulk search operating",
            "id": batch.batch_id,
            "credits_used": batch.credits_held,
            "estimated_duration": 5,
        },
    )


def _variants(batch: AcceptedBatch, rules: AccountRules) -> bodies.Variants:
    variants = rules.variants.copy()
    variants["credits_per_phone"] = batch.credits_held // len(batch.searches)
    if batch.custom is not None:
        # The API gives back what was sent, of whatever type.
        variants["custom"] = batch.custom  # type: ignore[typeddict-item]
    return variants
