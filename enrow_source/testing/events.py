"""Webhook events of finished batches, in each documented form. The simulated API calls nobody: a test delivers them.

The documented webhooks are https only; an event carries no results, so the GET still has to be made.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

from .responses import encoded

EventForm: TypeAlias = Literal["cost", "balance", "no_credits"]
"""`cost`: `credits {cost}`, the current payload; `balance`: `credits {balance, cost}`, an older one; `no_credits`:
another documented one, without credits."""


def finished_event(batch_id: str, cost: int, balance: int | None, form: EventForm = "cost") -> dict[str, Any]:
    """Return the event of a finished bulk phone search.

    cost: credits that the batch consumed. balance: of the account after its refund.
    """
    event: dict[str, Any] = {"event": "bulk_phone_search_finished", "id": batch_id}
    if form == "cost":
        event["credits"] = {"cost": cost}
    elif form == "balance":
        event["credits"] = {"balance": balance, "cost": cost}
    return event


def event_lines(events: Iterable[Mapping[str, Any]]) -> str:
    """Return the events as JSON lines, the form in which a receiver appends them to a file."""
    return "".join(f"{encoded(event).decode()}\n" for event in events)
