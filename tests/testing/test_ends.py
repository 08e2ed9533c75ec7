"""Submitted batches from their acceptance to their end: the balance, the events, the expiry."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from enrow_source.testing import AccountRules, EventForm, SimulatedEnrow, bodies, event_lines, finished_event
from tests.testing.calls import ERROR, balance, get, post


def submitted(api: SimulatedEnrow, count: int = 10) -> str:
    batch_id: str = post(api, {"searches": bodies.searches("mine", count), "custom": {"c": 1}}).json()["id"]
    return batch_id


def test_ends_by_gets() -> None:
    """A batch ends after a number of GETs."""
    with SimulatedEnrow(fetches_to_complete=2) as api:
        batch_id = submitted(api)
        balances = []
        statuses = []
        for _ in range(4):
            statuses.append(get(api, batch_id).json()["general"]["status"])
            balances.append(balance(api))

    assert statuses == ["ongoing", "ongoing", "completed", "completed"]
    assert balances == [8100, 8100, 8260, 8260]


def test_ends_by_time_unasked() -> None:
    """The balance and the events show the end of a batch whose 201 was lost."""
    with SimulatedEnrow(rules=AccountRules(completes_after_s=0.4)) as api:
        batch_id = submitted(api)
        first = get(api, batch_id).json()
        assert (first["general"]["status"], first["stats"]["requested"]) == ("ongoing", 10)
        assert 0 <= first["stats"]["finished"] < 10
        assert (balance(api), api.events()) == (8100, [])
        time.sleep(0.4)
        assert balance(api) == 8260
        assert [event["id"] for event in api.events()] == [batch_id]
        assert get(api, batch_id).json()["general"]["status"] == "completed"


def test_a_get_sees_the_end_by_time() -> None:
    with SimulatedEnrow(rules=AccountRules(completes_after_s=0)) as api:
        assert get(api, submitted(api)).json()["general"]["status"] == "completed"


def test_ends_on_demand(api: SimulatedEnrow) -> None:
    first, second, third = (submitted(api) for _ in range(3))

    assert api.finish(second) == [second]
    assert api.finish(second, "unknown") == []
    assert api.finish() == [first, third]
    assert api.credits == 8500 - 3 * 240
    assert [event["id"] for event in api.events()] == [second, first, third]
    assert get(api, first).json()["general"]["status"] == "completed"


def test_failed_batches_are_refunded(api: SimulatedEnrow) -> None:
    """No page documents the body or the cost of a failed batch: the plainest is assumed."""
    batch_id = submitted(api)

    api.finish(failed=True)

    assert get(api, batch_id).json() == {"general": {"id": batch_id, "status": "failed", "custom": {"c": 1}}}
    assert api.credits == 8500
    (batch,) = api.accepted
    assert (batch.status, batch.found, batch.credits_cost) == ("failed", 0, 0)


def test_an_end_comes_once(api: SimulatedEnrow) -> None:
    """Many fetches at the same moment refund once."""
    batch_id = submitted(api)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: get(api, batch_id), range(64)))

    assert api.credits == 8260
    assert len(api.events()) == 1


def test_the_record_has_the_end(api: SimulatedEnrow) -> None:
    submitted(api)
    api.finish()

    (batch,) = api.accepted
    assert (batch.status, batch.found, batch.credits_held) == ("completed", 6, 400)
    assert (batch.credits_refunded, batch.credits_cost, batch.balance) == (160, 240, 8260)
    assert batch.finished_at is not None
    assert batch.finished_at >= batch.accepted_at


@pytest.mark.parametrize("share,found", [(0.0, 0), (0.25, 5), (1.0, 20)])
def test_share_found(share: float, found: int) -> None:
    with SimulatedEnrow(fetches_to_complete=0, rules=AccountRules(found_share=share)) as api:
        stats = get(api, submitted(api, 20)).json()["stats"]
        assert stats == {
            "credits_cost": 40 * found,
            "credits_to_refund": 40 * (20 - found),
            "requested": 20,
            "found": found,
        }
        assert balance(api) == 8500 - 40 * found


def test_what_is_found_follows_the_seed() -> None:
    def results(seed: int) -> Any:
        with SimulatedEnrow(seed=seed, fetches_to_complete=0) as api:
            return get(api, submitted(api)).json()["results"]

    assert results(1) == results(1)
    assert results(1) != results(2)


def test_variants_of_submitted_batches() -> None:
    """A gross credits_cost is reported; what the account pays is the same."""
    rules = AccountRules(variants={"gross_cost": True, "found_key": "valid"})
    with SimulatedEnrow(fetches_to_complete=0, rules=rules) as api:
        stats = get(api, submitted(api)).json()["stats"]
        assert stats == {"credits_cost": 400, "credits_to_refund": 160, "requested": 10, "valid": 6}
        assert balance(api) == 8260


def test_expiry_after_gets(api: SimulatedEnrow) -> None:
    """A batch that was readable answers as an unknown one: 400 on bulk endpoints."""
    api.add_expiring("b", fetches=2, results=1)

    answers = [get(api, "b") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 400, 400]
    assert answers[-1].json() == ERROR


def test_expiry_on_demand(api: SimulatedEnrow) -> None:
    api.add_ongoing("b", fetches=None, results=1)
    assert get(api, "b").status_code == 200

    api.expire("b")

    assert (get(api, "b").status_code, get(api, "b").json()) == (400, ERROR)


def test_expiry_of_submitted_batches() -> None:
    with SimulatedEnrow(fetches_to_complete=0, rules=AccountRules(expires_after_s=0.3)) as api:
        batch_id = submitted(api)
        assert get(api, batch_id).status_code == 200
        time.sleep(0.3)
        assert (get(api, batch_id).status_code, get(api, batch_id).json()) == (400, ERROR)
        assert [batch.batch_id for batch in api.accepted] == [batch_id]


# Webhook events


@pytest.mark.parametrize(
    "form,credit",
    [
        ("cost", {"credits": {"cost": 240}}),
        ("balance", {"credits": {"balance": 8260, "cost": 240}}),
        ("no_credits", {}),
    ],
)
def test_event_forms(api: SimulatedEnrow, form: EventForm, credit: dict[str, Any]) -> None:
    batch_id = submitted(api)
    assert api.events(form) == []

    api.finish()

    event = {"event": "bulk_phone_search_finished", "id": batch_id, **credit}
    assert api.events(form) == [event]
    assert api.events(form, repeats=2) == [event, event]


def test_event_lines() -> None:
    events = [finished_event("a", 40, 1), finished_event("b", 0, 1, "no_credits")]

    text = event_lines(events)

    assert text.endswith("\n")
    assert [json.loads(line) for line in text.splitlines()] == events
