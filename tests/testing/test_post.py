"""Batches that are submitted: what is accepted, what it holds, what is refused."""

import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import pytest
import requests

from enrow_source.testing import AccountRules, Response, SimulatedEnrow, WaitForm, bodies
from tests.testing.calls import KEY, balance, get, post


def test_submit_then_fetch(api: SimulatedEnrow) -> None:
    searches = [{**search, "custom": f"row-{row}"} for row, search in enumerate(bodies.searches("mine", 5))]
    settings = {"webhook": "https://hooks.example/enrow"}

    answer = post(api, {"searches": searches, "custom": {"campaign": "spring"}, "settings": settings})
    batch_id = answer.json()["id"]
    first, second, last = (get(api, batch_id).json() for _ in range(3))

    assert answer.status_code == 201
    assert answer.json() == {
        "message": "Bulk search operating",
        "id": batch_id,
        "credits_used": 200,
        "estimated_duration": 5,
    }
    assert first["stats"] == {"requested": 5, "finished": 0}
    assert second["general"] == {"id": batch_id, "status": "ongoing"}
    assert last["general"] == {"id": batch_id, "status": "completed", "custom": {"campaign": "spring"}}
    assert [{**result["params"], "custom": result["custom"]} for result in last["results"]] == searches
    assert last["stats"] == {"credits_cost": 120, "credits_to_refund": 80, "requested": 5, "found": 3}


def test_submitted_ids_follow_the_seed() -> None:
    def ids(seed: int) -> list[str]:
        with SimulatedEnrow(seed=seed, fetches_to_complete=0) as api:
            made = [post(api, {"searches": [{"linkedin_url": "u"}]}).json()["id"] for _ in range(3)]
            assert all(get(api, batch_id).json()["general"]["status"] == "completed" for batch_id in made)
            return made

    assert ids(1) == ids(1)
    assert len({*ids(1), *ids(2)}) == 6


def test_credits_are_reserved_and_given_back_once(api: SimulatedEnrow) -> None:
    def info() -> dict[str, Any]:
        answer = requests.get(f"{api.url}/account/info", headers={"x-api-key": KEY}, timeout=5)
        body: dict[str, Any] = answer.json()
        return body

    assert info() == {"credits": 8500, "webhooks": ["https://hooks.example/enrow"]}
    batch_id = post(api, {"searches": bodies.searches("mine", 10)}).json()["id"]
    assert info()["credits"] == 8100
    for _ in range(5):
        get(api, batch_id)
    assert info()["credits"] == api.credits == 8100 + 160


SEARCH = {"linkedin_url": "https://www.linkedin.example/in/a"}
NAMED = {"firstname": "Ada", "lastname": "Quill", "company_name": "Amber Example Works"}


def test_what_is_submitted_comes_back(api: SimulatedEnrow) -> None:
    """Keys that nobody documented, and customs of any type, are echoed as they were sent."""
    searches = [
        {**SEARCH, "custom": {"row": 1}, "note": "n"},
        {**SEARCH, **NAMED, "custom": "row-2"},
        {**NAMED, "company_domain": "amber.example"},
    ]

    batch_id = post(api, {"searches": searches, "custom": "spring"}).json()["id"]
    last = [get(api, batch_id).json() for _ in range(3)][-1]

    assert last["general"]["custom"] == "spring"
    assert [result.get("custom") for result in last["results"]] == [{"row": 1}, "row-2", None]
    assert [result["params"] for result in last["results"]] == [
        {**SEARCH, "note": "n"},
        {**SEARCH, **NAMED},
        {**NAMED, "company_domain": "amber.example"},
    ]


def test_options_of_what_comes_back() -> None:
    rules = AccountRules(ongoing_status=202, custom_while_ongoing=True, echo_settings=True)
    settings = {"webhook": "https://hooks.example/enrow"}
    with SimulatedEnrow(fetches_to_complete=1, rules=rules) as api:
        batch_id = post(api, {"searches": [SEARCH], "custom": {"c": 1}, "settings": settings}).json()["id"]
        first, last = get(api, batch_id), get(api, batch_id)

    assert (first.status_code, first.json()["general"]["custom"]) == (202, {"c": 1})
    assert last.json()["settings"] == settings


def test_accepted_batches_are_kept(api: SimulatedEnrow) -> None:
    searches = [{**SEARCH, "custom": "row-1"}, NAMED]
    body = {"searches": searches, "custom": {"submission": "s"}, "settings": {"webhook": "https://hooks.example/w"}}
    before = datetime.now(UTC)

    post(api, {"searches": []})
    batch_id = post(api, body).json()["id"]

    (batch,) = api.accepted
    assert (batch.batch_id, batch.searches, batch.custom) == (batch_id, tuple(searches), {"submission": "s"})
    assert (batch.settings, batch.post, batch.fault) == (body["settings"], 1, None)
    assert before <= batch.accepted_at <= datetime.now(UTC)
    assert (batch.credits_held, batch.credits_refunded, batch.status) == (80, 0, "ongoing")


@pytest.mark.parametrize(
    "status,shape,body",
    [
        (402, "message", {"message": "Not enough credits"}),
        (402, "reason", {"reason": "Insufficient credits", "success": False}),
        (422, "message", {"message": "Insufficient balance"}),
        (422, "reason", {"reason": "Insufficient balance", "success": False}),
    ],
)
def test_out_of_credits(status: Literal[402, 422], shape: Literal["message", "reason"], body: dict[str, Any]) -> None:
    """The balance has to cover all searches; nothing is held where it does not."""
    rules = AccountRules(out_of_credits=Response.out_of_credits(status, shape))
    with SimulatedEnrow(credits=79, rules=rules) as api:
        answer = post(api, {"searches": [SEARCH] * 2})
        assert (answer.status_code, answer.json()) == (status, body)
        assert post(api, {"searches": [SEARCH]}).status_code == 201
        assert balance(api) == 39
        assert len(api.accepted) == 1


def test_older_plans_hold_50() -> None:
    with SimulatedEnrow(credits=100, rules=AccountRules(credits_per_phone=50, found_share=0.5)) as api:
        answer = post(api, {"searches": [SEARCH] * 2})
        assert (answer.json()["credits_used"], balance(api)) == (100, 0)
        stats = [get(api, answer.json()["id"]).json() for _ in range(3)][-1]["stats"]
        assert (stats["credits_cost"], stats["credits_to_refund"], balance(api)) == (50, 50, 50)


@pytest.mark.parametrize("most", [3_000, 5_000])
def test_most_searches_of_a_batch(most: int) -> None:
    with SimulatedEnrow(credits=10**6, rules=AccountRules(max_searches=most)) as api:
        assert post(api, {"searches": [SEARCH] * most}).json()["credits_used"] == 40 * most
        assert post(api, {"searches": [SEARCH] * (most + 1)}).status_code == 400
        assert len(api.accepted) == 1


MISSING = "Missing payload"
NONE_PRESENT = "At least 1 phone search must be present in the payload"


@pytest.mark.parametrize(
    "body,message",
    [
        (b"", MISSING),
        (b"{", MISSING),
        (b"\xff", MISSING),
        ({}, MISSING),
        ([], MISSING),
        ({"custom": "c"}, NONE_PRESENT),
        ({"searches": []}, NONE_PRESENT),
        ({"searches": {}}, NONE_PRESENT),
        ({"searches": ["a"]}, "Missing mandatory property on search n°1 of 1"),
        ({"searches": [{}]}, "Missing mandatory property on search n°1 of 1"),
    ],
)
def test_malformed_payloads(api: SimulatedEnrow, body: object, message: str) -> None:
    answer = post(api, body)

    assert (answer.status_code, answer.json()) == (400, {"message": message})
    assert (api.accepted, api.credits) == ([], 8500)


@pytest.mark.parametrize(
    "search",
    [
        {"firstname": "Ada", "lastname": "Quill"},
        {"firstname": "Ada", "company_name": "Amber Example Works"},
        {**NAMED, "lastname": " "},
        {**NAMED, "firstname": None},
        {"linkedin_url": ""},
        {"linkedin_url": 1},
        {"first_name": "Ada", "last_name": "Quill", "company_name": "Amber Example Works"},
        {"fullname": "Ada Quill", "company_domain": "amber.example"},
    ],
)
def test_one_bad_search_refuses_all(api: SimulatedEnrow, search: dict[str, Any]) -> None:
    """The documented text counts from 1: `search n°8 of 50`."""
    answer = post(api, {"searches": [NAMED] * 7 + [search] + [SEARCH] * 42})

    assert (answer.status_code, answer.json()) == (400, {"message": "Missing mandatory property on search n°8 of 50"})
    assert (api.accepted, api.credits) == ([], 8500)


@pytest.mark.parametrize("name", [{"first_name": "Ada", "last_name": "Quill"}, {"fullname": "Ada Quill"}])
def test_names_as_sdks_send_them(name: dict[str, str]) -> None:
    search = {**name, "company_domain": "amber.example"}
    with SimulatedEnrow(fetches_to_complete=0, rules=AccountRules(sdk_names_allowed=True)) as api:
        batch_id = post(api, {"searches": [search]}).json()["id"]
        assert get(api, batch_id).json()["results"][0]["params"] == search


def test_accounts_without_phones() -> None:
    """The 401 of a plan that lacks phones is for the POST alone: for the GET it is unknown."""
    with SimulatedEnrow(rules=AccountRules(phones_allowed=False)) as api:
        api.add_completed("b", results=1)
        answer = post(api, {"searches": [SEARCH]})
        assert (answer.status_code, answer.json()) == (
            401,
            {"message": "This account is not allowed to use the phone search feature"},
        )
        assert get(api, "b").status_code == 200


def test_rules_may_change(api: SimulatedEnrow) -> None:
    api.rules = replace(api.rules, credits_per_phone=50)
    assert post(api, {"searches": [SEARCH]}).json()["credits_used"] == 50


def test_keys_are_checked_first(api: SimulatedEnrow) -> None:
    api.fault_posts("refuse-503")

    assert post(api, {"searches": [SEARCH]}, key="wrong").json() == {"message": "This apikey is not valid"}
    assert post(api, {"searches": [SEARCH]}, key="").json() == {"message": "No apikey found in the x-api-key headers"}
    assert post(api, {"searches": [SEARCH]}).status_code == 503


def test_posts_are_limited_to_10_a_second() -> None:
    rules = AccountRules(posts_per_s=10, credits_per_phone=0)
    with SimulatedEnrow(rules=rules) as api, requests.Session() as session:
        statuses = [post(api, {"searches": [SEARCH]}, session=session).status_code for _ in range(12)]
        assert statuses == [201] * 10 + [429] * 2
        assert len(api.accepted) == 10
        time.sleep(1)
        assert post(api, {"searches": [SEARCH]}).status_code == 201


@pytest.mark.parametrize(
    "form,headers,body",
    [
        ("none", set(), {}),
        ("header", {"Retry-After"}, {}),
        ("date", {"Retry-After"}, {}),
        ("body", set(), {"retry_after": 2}),
        ("reset", {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}, {}),
        ("reset_time", {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}, {}),
    ],
)
def test_forms_of_a_wait(api: SimulatedEnrow, form: WaitForm, headers: set[str], body: dict[str, int]) -> None:
    asked = time.time()
    api.fault_posts(Response.rate_limited_as(form, 1.5))

    answer = post(api, {"searches": [SEARCH]})

    usual = {"Server", "Date", "Content-Type", "Content-Length"}
    assert (answer.status_code, answer.json()) == (429, {"message": "Too Many Requests", **body})
    assert set(answer.headers) - usual == {name.title() for name in headers}
    waits = {name.lower(): value for name, value in answer.headers.items()}
    if form == "header":
        assert waits["retry-after"] == "2"
    if form == "date":
        assert 1 <= parsedate_to_datetime(waits["retry-after"]).timestamp() - asked <= 3
    if form == "reset":
        assert waits["x-ratelimit-reset"] == "2"
    if form == "reset_time":
        assert 1 <= int(waits["x-ratelimit-reset"]) - asked <= 3


def test_half_a_post_is_not_read(api: SimulatedEnrow) -> None:
    """A client that goes while it sends has submitted nothing."""
    body = json.dumps({"searches": [SEARCH]}).encode()
    with closing(socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2])), 5)) as connection:
        head = f"POST /phone/bulk HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nContent-Length: {len(body) + 1}\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""

    assert (api.requests, api.accepted) == ([], [])


def test_many_clients_never_overdraw() -> None:
    """Credits for 20 batches, 40 clients at once: 20 are accepted, each under its own id."""
    with SimulatedEnrow(credits=20 * 40) as api:
        with ThreadPoolExecutor(40) as pool:
            statuses = Counter(pool.map(lambda _: post(api, {"searches": [SEARCH]}).status_code, range(40)))
        assert statuses == {201: 20, 402: 20}
        assert api.credits == 0
        assert len({batch.batch_id for batch in api.accepted}) == 20
        assert sorted(batch.post for batch in api.accepted) == sorted({batch.post for batch in api.accepted})


def test_a_full_batch_is_quick(api: SimulatedEnrow) -> None:
    """Ratios hold on any machine: a POST, and a GET of its end, against the making of the body alone."""
    api.credits = 10**9
    body = json.dumps({"searches": bodies.searches("mine", 3_000)}).encode()
    url, headers = f"{api.url}/phone/bulk", {"x-api-key": KEY}

    def seconds(work: Callable[[], object]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    making = min(seconds(lambda: bodies.completed("b")) for _ in range(5))
    with requests.Session() as session:
        session.headers.update(headers)
        posting = min(seconds(lambda: session.post(url, body, timeout=5)) for _ in range(5))
        batch_id = api.accepted[0].batch_id
        api.finish()
        session.get(url, params={"id": batch_id}, timeout=5)
        getting = min(seconds(lambda: session.get(url, params={"id": batch_id}, timeout=5)) for _ in range(5))

    assert posting < 2 * making
    assert getting < making


@pytest.mark.parametrize(
    "rules",
    [
        {"found_share": 1.1},
        {"max_searches": 0},
        {"credits_per_phone": -1},
        {"posts_per_s": 0},
    ],
)
def test_impossible_rules_are_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(rules))):
        AccountRules(**rules)
