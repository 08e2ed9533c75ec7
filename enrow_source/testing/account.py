"""The account of the simulated API: credits, webhooks, and batches submitted to it."""

import json
from random import Random
from typing import Any, Literal, TypeGuard
from uuid import UUID

from . import bodies
from .batches import Batches, in_progress
from .responses import Response, encoded


class Account(Batches):
    """Batches that are paid for: a submission reserves credits, its finish gives some back.

    credits: those left; may be set at any time. webhooks: addresses that the account lists;
    none is ever called.
    """

    def __init__(
        self,
        *,
        seed: int,
        unknown_id_status: Literal[400, 404],
        looks_to_complete: int,
        credits: int,  # noqa: A002 - the API's own name
    ) -> None:
        """Open the account; a submitted batch finishes after `looks_to_complete` looks."""
        super().__init__(seed=seed, unknown_id_status=unknown_id_status)
        self.looks_to_complete = looks_to_complete
        self.credits = credits
        self.webhooks = ["https://hooks.example/enrow"]
        self._ids = Random(f"{seed}/submitted")

    def info(self) -> Response:
        """Answer `GET /account/info`."""
        return Response(body={"credits": self.credits, "webhooks": self.webhooks})

    def submit(self, body: bytes) -> Response:
        """Answer `POST /phone/bulk`; the texts of its errors are not documented."""
        try:
            batch = json.loads(body)
        except ValueError:
            return Response.message(400, "The body is not JSON")
        searches = batch.get("searches") if isinstance(batch, dict) else None
        if not _fit_one_batch(searches):
            return Response.message(400, f"searches must hold 1 to {bodies.MAX_RESULTS} objects")
        charged = bodies.CREDITS_PER_PHONE * len(searches)
        with self._lock:
            if charged > self.credits:
                return Response.out_of_credits()
            self.credits -= charged
            batch_id = str(UUID(bytes=self._ids.randbytes(16), version=4))
        custom: bodies.Variants = {"custom": batch["custom"]} if "custom" in batch else {}
        self._work_on(bodies.answering(batch_id, searches, seed=self.seed, **custom))
        return Response(
            201,
            {
                "message": "Bulk search operating",
                "id": batch_id,
                "credits_used": charged,
                "estimated_duration": 5,
            },
        )

    def _work_on(self, outcome: dict[str, Any]) -> None:
        batch_id, stats = outcome["general"]["id"], outcome["stats"]
        finished, looks = encoded(outcome), self.looks_to_complete

        def finish(look: int) -> bytes:
            if look == looks:
                with self._lock:
                    self.credits += stats["credits_to_refund"]
            return finished

        self.respond(batch_id, *in_progress(batch_id, looks, stats["requested"]), finish)


def _fit_one_batch(searches: object) -> TypeGuard[list[dict[str, Any]]]:
    return (
        isinstance(searches, list)
        and 1 <= len(searches) <= bodies.MAX_RESULTS
        and all(isinstance(search, dict) for search in searches)
    )
