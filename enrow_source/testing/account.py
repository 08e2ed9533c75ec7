"""The account of the simulated API: its credits, and the POSTs that spend them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from threading import Event
from typing import Literal
from uuid import UUID

from .accepted import AcceptedBatch
from .faults import FaultLike, FaultPlan, PostFault
from .journal import Journal, read_journal
from .payload import Payload, parse_payload
from .rate import RateLimit
from .responses import Response
from .rules import AccountRules
from .submitted import SubmittedBatches


class Account(SubmittedBatches):
    """An account that pays for batches: a POST holds the credits of all its searches, its end gives some back.

    credits: those left; may be set at any time. rules: may be replaced at any time.
    webhooks: addresses that the account lists; none is ever called.
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
        super().__init__(
            seed=seed,
            unknown_id_status=unknown_id_status,
            fetches_to_complete=fetches_to_complete,
            credits=credits,
            rules=rules,
        )
        self.webhooks = ["https://hooks.example/enrow"]
        self._faults = FaultPlan(seed)
        self._rate = RateLimit()
        self._stopping = Event()
        self._posts = 0
        if journal is not None:
            self._reopen(journal)

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

    def _reopen(self, path: Path) -> None:
        self._journal = Journal(path)
        state = read_journal(path)
        self._posts = state.posts
        for batch in state.accepted:
            self.credits -= batch.credits_cost
            self._take_on(batch)


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
