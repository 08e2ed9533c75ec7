"""The answer to each fetch of a batch, and the record of requests."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import requests

from enrow_source.testing import Response, SimulatedEnrow, bodies
from tests.testing.calls import KEY, ask, get


def test_ongoing_completes_after_its_gets(api: SimulatedEnrow) -> None:
    """An ongoing batch completes after its number of GETs."""
    api.add_ongoing("b", fetches=2, results=10)

    seen = [get(api, "b").json() for _ in range(4)]

    assert [body["general"]["status"] for body in seen] == ["ongoing", "ongoing", "completed", "completed"]
    assert [body["stats"]["finished"] for body in seen[:2]] == [0, 5]
    assert not any("results" in body for body in seen[:2])
    assert seen[2] == seen[3] == bodies.completed("b", results=10)
    assert api.fetches("b") == 4


def test_ongoing_for_ever(api: SimulatedEnrow) -> None:
    api.add_ongoing("b", fetches=None, results=2, status=202)

    assert {(get(api, "b").status_code, get(api, "b").json()["general"]["status"]) for _ in range(3)} == {
        (202, "ongoing")
    }


def test_each_get_takes_the_next_response(api: SimulatedEnrow) -> None:
    """Each GET takes the next response of the script."""
    api.respond("b", Response.server_error(), {"a": 1}, [1, 2], b"not json", lambda fetch: {"fetch": fetch})

    answers = [get(api, "b") for _ in range(6)]

    assert [answer.status_code for answer in answers] == [500, 200, 200, 200, 200, 200]
    assert [answer.text for answer in answers[1:]] == [
        '{"a":1}',
        "[1,2]",
        "not json",
        '{"fetch":4}',
        '{"fetch":5}',
    ]
    assert api.fetches("b") == 6


def test_new_script_starts_over(api: SimulatedEnrow) -> None:
    """A new script starts over, and the count of GETs goes on."""
    api.respond("b", {"n": 0})
    get(api, "b")
    api.respond("b", lambda fetch: {"n": fetch})

    assert get(api, "b").json() == {"n": 0}
    assert api.fetches("b") == 2


def test_a_function_may_use_the_api_itself(api: SimulatedEnrow) -> None:
    def finish(fetch: int) -> dict[str, Any]:
        api.add_completed("b", results=1)
        return {"fetch": fetch, "fetches": api.fetches("b")}

    api.respond("b", finish)

    assert get(api, "b").json() == {"fetch": 0, "fetches": 1}
    assert get(api, "b").json()["general"]["status"] == "completed"


def test_record_of_requests(api: SimulatedEnrow) -> None:
    api.add_completed("a b/ü", results=1)

    get(api, "a b/ü")
    get(api, "unknown")
    requests.get(f"{api.url}/account/info", headers={"X-API-Key": KEY}, timeout=5)

    first, second, third = api.requests
    assert (first.method, first.path, first.query) == ("GET", "/phone/bulk", "id=a+b%2F%C3%BC")
    assert (first.batch_id, first.status, first.headers["x-api-key"]) == ("a b/ü", 200, KEY)
    assert (second.batch_id, second.status) == ("unknown", 400)
    assert (third.path, third.batch_id, third.headers["x-api-key"]) == ("/account/info", None, KEY)
    assert api.fetches("a b/ü") == api.fetches("unknown") == 1
    assert api.fetches("never asked") == 0
    api.requests.clear()
    assert len(api.requests) == 3


def test_many_clients_at_once_each_take_one_response(api: SimulatedEnrow) -> None:
    api.respond("b", lambda fetch: {"fetch": fetch})

    with ThreadPoolExecutor(16) as pool:
        fetches = pool.map(lambda _: get(api, "b").json()["fetch"], range(64))

    assert sorted(fetches) == list(range(64))
    assert api.fetches("b") == len(api.requests) == 64


def test_connections_are_kept_alive(api: SimulatedEnrow) -> None:
    api.add_completed("b", results=1)
    with closing(ask(api, "b")) as connection:
        first = connection.recv(65_536)
        while b"]}" not in first:
            first += connection.recv(65_536)
        connection.sendall(b"GET /phone/bulk?id=b HTTP/1.1\r\nHost: api.example\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401 ")
