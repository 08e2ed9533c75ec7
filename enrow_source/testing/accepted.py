"""What the simulated API accepted: the truth that a test of spending compares a client's records with.

And the webhook events of what has ended, in each documented form. The simulated API calls nobody: a test delivers them.
The documented webhooks are https only; an event carries no results, so the GET still has to be made.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self, TypeAlias

from .responses import encoded

EventForm: TypeAlias = Literal["cost", "balance", "no_credits"]
"""`cost`: `credits {cost}`, the current payload; `balance`: `credits {balance, cost}`, an older one; `no_credits`:
another documented one, without credits."""


@dataclass(frozen=True)
class AcceptedBatch:
    """A batch whose POST was accepted, whatever response the client got.

    searches: as submitted, `custom` inside. custom: the batch's own, None if none was sent. settings: as submitted.
    post: number of the POST among those with a good key, from 0. fault: name of what went wrong with it, if anything.
    accepted_at: in UTC. credits_held: taken when it was accepted. found: phones that it finds.
    finished_at, balance: when it ended, and credits of the account after its refund; None while it is ongoing.
    credits_refunded: given back at its end, 0 until then.
    """

    batch_id: str
    searches: tuple[dict[str, Any], ...]
    custom: object
    settings: Mapping[str, Any]
    post: int
    fault: str | None
    accepted_at: datetime
    credits_held: int
    found: int
    status: Literal["ongoing", "completed", "failed"] = "ongoing"
    finished_at: datetime | None = None
    credits_refunded: int = 0
    balance: int | None = None

    @property
    def credits_cost(self) -> int:
        """Credits that are not given back; while the batch is ongoing, all that are held."""
        return self.credits_held - self.credits_refunded

    def as_json(self) -> dict[str, Any]:
        """Return the batch as JSON holds it: the times are ISO 8601 texts."""
        return {
            **vars(self),
            "searches": list(self.searches),
            "settings": dict(self.settings),
            "accepted_at": self.accepted_at.isoformat(),
            "finished_at": None if self.finished_at is None else self.finished_at.isoformat(),
        }

    @classmethod
    def from_json(cls, batch: Mapping[str, Any]) -> Self:
        """Return the batch that `as_json` wrote."""
        finished = batch["finished_at"]
        return cls(
            **{
                **batch,
                "searches": tuple(batch["searches"]),
                "accepted_at": datetime.fromisoformat(batch["accepted_at"]),
                "finished_at": None if finished is None else datetime.fromisoformat(finished),
            }
        )


def person_of(search: Mapping[str, object]) -> tuple[str, ...]:
    """Return who a search is for: its profile, or else its names and company; case and outer spaces do not count.

    With both a `linkedin_url` and a name, the URL prevails, as documented. This is the plain comparison of a server:
    a client may well know more spellings of one person.
    """
    values = {key: str(value).strip().casefold() for key, value in search.items() if value is not None}
    if values.get("linkedin_url"):
        return (values["linkedin_url"].rstrip("/"),)
    company = values.get("company_domain") or values.get("company_name", "")
    first, last = values.get("firstname", values.get("first_name", "")), values.get("lastname", values.get("last_name"))
    return (first, last, company) if last is not None else (values.get("fullname", ""), company)


def people_accepted_twice(batches: Iterable[AcceptedBatch]) -> dict[tuple[str, ...], list[str]]:
    """Return the batch ids of every person that was accepted more than once; empty is what a test wants."""
    batch_ids: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for batch in batches:
        for search in batch.searches:
            batch_ids[person_of(search)].append(batch.batch_id)
    return {person: ids for person, ids in batch_ids.items() if len(ids) > 1}


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
