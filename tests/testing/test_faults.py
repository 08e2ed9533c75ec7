"""POSTs that go wrong: what the client sees, and what the API accepted all the same."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from enrow_source.testing import FAULT_NAMES, PostFault, Response, SimulatedEnrow, people_accepted_twice, post_fault
from enrow_source.testing import person_of as person
from tests.testing.calls import balance, get, post

SEARCH = {"linkedin_url": "https://www.linkedin.example/in/a"}
PAYLOAD = {"searches": [SEARCH] * 2, "custom": {"submission": "s"}}


def outcome(api: SimulatedEnrow, timeout_s: float = 5) -> str:
    """Return what a client of the POST sees, in a word."""
    try:
        answer = post(api, PAYLOAD, timeout_s=timeout_s)
    except requests.exceptions.ChunkedEncodingError:
        return "truncated"
    except requests.ReadTimeout:
        return "timeout"
    except requests.ConnectionError as error:
        return "reset" if "reset by peer" in str(error) else "closed"
    try:
        body = answer.json()
    except ValueError:
        return f"{answer.status_code} unreadable"
    return f"{answer.status_code} {'with' if 'id' in body else 'without'} id"


@pytest.mark.parametrize(
    "fault,seen",
    [
        ("accept-then-drop", "closed"),
        ("accept-then-reset", "reset"),
        ("accept-then-500", "500 without id"),
        ("accept-then-502", "502 unreadable"),
        ("accept-then-503", "503 without id"),
        ("accept-unreadable", "201 unreadable"),
        ("accept-without-id", "201 without id"),
        ("accept-empty", "201 unreadable"),
        ("accept-truncated", "truncated"),
        ("accept-slowly:30", "timeout"),
    ],
)
def test_accepted_though_the_client_cannot_know(api: SimulatedEnrow, fault: str, seen: str) -> None:
    """The API holds the credits, and the batch can be read as any other."""
    api.fault_posts(fault)

    assert outcome(api, timeout_s=0.5) == seen

    (batch,) = api.accepted
    assert (batch.fault, batch.searches, batch.custom) == (fault, (SEARCH, SEARCH), {"submission": "s"})
    assert balance(api) == 8500 - 80
    api.finish()
    assert get(api, batch.batch_id).json()["general"]["custom"] == {"submission": "s"}


@pytest.mark.parametrize(
    "fault,seen",
    [
        ("refuse-then-drop", "closed"),
        ("refuse-then-reset", "reset"),
        ("refuse-401", "401 without id"),
        ("refuse-not-allowed", "401 without id"),
        ("refuse-402", "402 without id"),
        ("refuse-402-reason", "402 without id"),
        ("refuse-422", "422 without id"),
        ("refuse-429:2", "429 without id"),
        ("refuse-500", "500 without id"),
        ("refuse-503", "503 without id"),
        ("refuse-search:2", "400 without id"),
    ],
)
def test_refused_faults_accept_nothing(api: SimulatedEnrow, fault: str, seen: str) -> None:
    api.fault_posts(fault)

    assert outcome(api) == seen
    assert (api.accepted, balance(api)) == ([], 8500)
    assert outcome(api) == "201 with id"


def test_every_fault_is_tested_above() -> None:
    marks = [
        *test_accepted_though_the_client_cannot_know.pytestmark,  # type: ignore[attr-defined] # set by pytest
        *test_refused_faults_accept_nothing.pytestmark,  # type: ignore[attr-defined] # as above
    ]
    tested = {case[0].partition(":")[0] for mark in marks for case in mark.args[1]}
    assert {name.partition(":")[0] for name in FAULT_NAMES} == tested | {"slow-then-accept"}


def test_refused_search_is_named(api: SimulatedEnrow) -> None:
    api.fault_posts("refuse-search:8")

    answer = post(api, {"searches": [SEARCH] * 50})

    assert (answer.status_code, answer.json()) == (400, {"message": "Missing mandatory property on search n°8 of 50"})


def test_accepted_after_the_client_has_gone(api: SimulatedEnrow) -> None:
    """Between the time-out and the acceptance nobody can find the batch."""
    api.fault_posts("slow-then-accept:0.6")

    assert outcome(api, timeout_s=0.2) == "timeout"
    assert api.accepted == []
    while not api.requests:
        time.sleep(0.001)
    assert [batch.fault for batch in api.accepted] == ["slow-then-accept:0.6"]


def test_stopping_leaves_slow_posts_unaccepted() -> None:
    with SimulatedEnrow() as api, ThreadPoolExecutor(1) as pool:
        api.fault_posts("slow-then-accept:60")
        seen = pool.submit(outcome, api)
        while api._posts == 0:
            time.sleep(0.001)
        api.__exit__(None, None, None)
        assert seen.result(5) in {"closed", "reset"}
    assert api.accepted == []


def test_each_post_takes_the_next_fault(api: SimulatedEnrow) -> None:
    own = PostFault("own", accepts=True, respond=lambda honest, count: Response(honest.status, {"id": str(count)}))
    api.fault_posts("accept-then-500", None, "none", Response(418, {}))
    api.fault_posts(own)

    assert [outcome(api) for _ in range(6)] == [
        "500 without id",
        "201 with id",
        "201 with id",
        "418 without id",
        "201 with id",
        "201 with id",
    ]
    assert [batch.fault for batch in api.accepted] == ["accept-then-500", None, None, "own", None]
    assert [request.status for request in api.requests] == [500, 201, 201, 418, 201, 201]


def test_a_post_without_response_has_status_0(api: SimulatedEnrow) -> None:
    api.fault_posts("accept-then-drop")

    outcome(api)

    assert [request.status for request in api.requests] == [0]


def test_bad_payloads_are_refused_honestly(api: SimulatedEnrow) -> None:
    """There is nothing to accept, whatever the fault."""
    api.fault_posts("accept-then-drop")

    assert post(api, {}).json() == {"message": "Missing payload"}
    assert api.accepted == []


def test_chance_follows_the_seed() -> None:
    shares = {"accept-then-500": 0.3, "refuse-503": 0.3}

    def outcomes(seed: int) -> list[str]:
        with SimulatedEnrow(seed=seed, credits=10**6) as api:
            api.fault_posts_by_chance(shares)
            seen = [outcome(api) for _ in range(100)]
            assert len(api.accepted) == sum(word != "503 without id" for word in seen)
            return seen

    seen = outcomes(1)
    counts = Counter(seen)
    assert seen == outcomes(1)
    assert seen != outcomes(2)
    assert set(counts) == {"500 without id", "503 without id", "201 with id"}
    assert all(20 <= count <= 50 for count in counts.values())


def test_connections_are_refused(api: SimulatedEnrow) -> None:
    """A client with a connection open cannot use it either; afterwards the API is where it was."""
    with requests.Session() as session:
        post(api, PAYLOAD, session=session)
        url = api.url
        with api.refusing_connections():
            assert api.url == url
            with pytest.raises(requests.ConnectionError, match="refused"):
                post(api, PAYLOAD, session=session)
        assert post(api, PAYLOAD, session=session).status_code == 201
    assert len(api.accepted) == len(api.requests) == 2


@pytest.mark.parametrize("name", ["accept", "accept-slowly:x", "refuse-503:1", ""])
def test_unknown_faults_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"fault"):
        post_fault(name)


@pytest.mark.parametrize("shares", [{"refuse-503": -0.1}, {"refuse-503": 0.6, "refuse-500": 0.6}])
def test_impossible_shares_are_refused(api: SimulatedEnrow, shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        api.fault_posts_by_chance(shares)


# Who was accepted


def test_people_accepted_twice(api: SimulatedEnrow) -> None:
    ada = {"firstname": "Ada", "lastname": "Quill", "company_name": "Amber Example Works"}
    first = post(api, {"searches": [ada, SEARCH]}).json()["id"]
    assert people_accepted_twice(api.accepted) == {}

    second = post(api, {"searches": [{**ada, "firstname": " ADA", "custom": "row"}]}).json()["id"]

    assert people_accepted_twice(api.accepted) == {person(ada): [first, second]}


def test_who_a_search_is_for() -> None:
    """With both a linkedin_url and a name, the URL prevails."""
    named = {"firstname": "Ada", "lastname": "Quill", "company_domain": "amber.example"}
    sdk = {"first_name": "ada", "last_name": "quill", "company_domain": "amber.example"}
    profile = SEARCH["linkedin_url"]

    assert person(named) == person(sdk) == ("ada", "quill", "amber.example")
    assert person({**named, "linkedin_url": f"{profile}/"}) == person({"linkedin_url": profile}) == (profile,)
    assert person({"fullname": "Ada Quill", "company_name": "Amber"}) == ("ada quill", "amber")
    assert person({**named, "company_domain": "beacon.example"}) != person(named)
