"""Batches after their POST: in progress, then finished with a refund and a webhook event, then expired."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from . import bodies
from .accepted import AcceptedBatch
from .batches import Batches
from .events import EventForm, finished_event
from .journal import Journal
from .responses import Response, encoded
from .rules import AccountRules


class SubmittedBatches(Batches):
    """Batches that were paid for. Each ends once, by its fetches, by time, or by `finish`."""

    def __init__(
        self,
        *,
        seed: int,
        unknown_id_status: Literal[400, 404],
        fetches_to_complete: int,
        credits: int,  # noqa: A002 - the API's own name
        rules: AccountRules,
    ) -> None:
        """Start without batches; one finishes after `fetches_to_complete` fetches unless the rules give it a time."""
        super().__init__(seed=seed, unknown_id_status=unknown_id_status)
        self.fetches_to_complete = fetches_to_complete
        self.credits = credits
        self.rules = rules
        self._journal: Journal | None = None
        self._accepted: dict[str, AcceptedBatch] = {}
        # Ids, in the order in which they were accepted, and in that in which they ended.
        self._in_progress: dict[str, None] = {}
        self._ended: list[str] = []
        self._bodies: dict[str, bytes] = {}

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
            self._ended.sort(key=self._finished_at)
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

    def _finished_at(self, batch_id: str) -> datetime:
        return self._accepted[batch_id].finished_at or datetime.max.replace(tzinfo=UTC)

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


def _variants(batch: AcceptedBatch, rules: AccountRules) -> bodies.Variants:
    variants = rules.variants.copy()
    variants["credits_per_phone"] = batch.credits_held // len(batch.searches)
    if batch.custom is not None:
        # The API gives back what was sent, of whatever type.
        variants["custom"] = batch.custom  # type: ignore[typeddict-item]
    return variants
