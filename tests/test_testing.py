"""The simulated API against its documentation, over real HTTP on loopback."""

import ast
import gzip
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Unpack

import pytest
import requests

from enrow_source import testing
from enrow_source.testing import Response, SimulatedEnrow, bodies, demo_batches

KEY = "enrow-test-key"
DOCUMENTED_ID = "e3b61122-d6a6-4ea7-b331-9b734682a76a"
COMPLETED = {
    "general": {"id": DOCUMENTED_ID, "status": "completed"},
    "results": [
        {
            "country": "US",
            "index": 0,
            "number": "+15705551234",
            "params": {"linkedin_url": "https://www.linkedin.com/in/michael-scott"},
            "qualification": "found",
        },
        {
            "country": "US",
            "index": 1,
            "number": "+15705555678",
            "params": {"linkedin_url": "https://www.linkedin.com/in/dwight-schrute"},
            "qualification": "found",
        },
    ],
    "stats": {"credits_cost": 80, "credits_to_refund": 0, "found": 2, "requested": 2},
}
ONGOING = {
    "general": {"id": DOCUMENTED_ID, "status": "ongoing"},
    "stats": {"finished": 0, "requested": 2},
}
ERROR = {"message": "Could not retrieve bulk search results"}


@pytest.fixture
def api() -> Iterator[SimulatedEnrow]:
    with SimulatedEnrow() as running:
        yield running


def get(api: SimulatedEnrow, batch_id: str, key: str = KEY) -> requests.Response:
    return requests.get(
        f"{api.url}/phone/bulk",
        {"id": batch_id},
        headers={"x-api-key": key},
        timeout=5,
        allow_redirects=False,
    )


def ask(api: SimulatedEnrow, batch_id: str, timeout_s: float = 5, keep: str = "keep-alive") -> socket.socket:
    """Send one GET by hand, so that no client library smooths what comes back."""
    connection = socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2])), timeout_s)
    lines = (
        f"GET /phone/bulk?id={batch_id} HTTP/1.1",
        "Host: api.example",
        f"X-Api-Key: {KEY}",
        f"Connection: {keep}",
    )
    connection.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    return connection


def received(connection: socket.socket) -> tuple[bytes, bytes, type[OSError] | None]:
    """Read until the connection ends; return head, body and the error that ended it, if any."""
    data, ended_by = b"", None
    try:
        while piece := connection.recv(65_536):
            data += piece
    except OSError as error:
        ended_by = type(error)
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body, ended_by


# The documented examples


def test_documented_batch_has_the_documented_values(api: SimulatedEnrow) -> None:
    assert api.add_documented() == DOCUMENTED_ID

    response = get(api, DOCUMENTED_ID)

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("application/json")
    assert response.json() == COMPLETED
    assert response.content == json.dumps(COMPLETED, separators=(",", ":")).encode()


def test_ongoing_batch_has_the_documented_values(api: SimulatedEnrow) -> None:
    api.add_ongoing(DOCUMENTED_ID, looks=1, results=2)

    response = get(api, DOCUMENTED_ID)

    assert response.status_code == 200
    assert response.json() == ONGOING


def test_unknown_batch_has_the_documented_error(api: SimulatedEnrow) -> None:
    response = get(api, "no-such-batch")

    assert response.status_code == 400
    assert response.json() == ERROR


# Errors


def test_unknown_batch_is_404_on_older_pages() -> None:
    with SimulatedEnrow(unknown_id_status=404) as api:
        response = get(api, "no-such-batch")

    assert response.status_code == 404
    assert response.json() == {"message": "Bulk search not found"}


@pytest.mark.parametrize("query", ["", "?", "?id", "?id=", "?other=1"])
def test_missing_id(api: SimulatedEnrow, query: str) -> None:
    response = requests.get(f"{api.url}/phone/bulk{query}", headers={"x-api-key": KEY}, timeout=5)

    assert response.status_code == 400
    assert response.json() == {"message": "Missing id in the query params"}


@pytest.mark.parametrize("path", ["/phone/bulk", "/phone/bulk?id=b", "/account/info", "/elsewhere"])
@pytest.mark.parametrize(
    "headers,message",
    [
        ({}, "No apikey found in the x-api-key headers"),
        ({"x-api-key": ""}, "No apikey found in the x-api-key headers"),
        ({"Authorization": f"Bearer {KEY}"}, "No apikey found in the x-api-key headers"),
        ({"x-api-key": "wrong"}, "This apikey is not valid"),
    ],
)
def test_key_is_checked_before_all_else(api: SimulatedEnrow, path: str, headers: dict[str, str], message: str) -> None:
    for method in ("GET", "POST"):
        response = requests.request(method, api.url + path, headers=headers, timeout=5)
        assert response.status_code == 401
        assert response.json() == {"message": message}


def test_a_refused_key_takes_no_look(api: SimulatedEnrow) -> None:
    api.add_completed("b", results=1)

    get(api, "b", key="wrong")

    assert api.looks("b") == 0
    assert [request.status for request in api.requests] == [401]


def test_other_paths_are_not_found(api: SimulatedEnrow) -> None:
    headers = {"x-api-key": KEY}
    assert requests.get(f"{api.url}/elsewhere", headers=headers, timeout=5).status_code == 404
    assert requests.delete(f"{api.url}/phone/bulk?id=b", headers=headers, timeout=5).status_code == 404


@pytest.mark.parametrize(
    "response,status,message",
    [
        (Response.unreadable(), 400, "Could not retrieve bulk search results"),
        (Response.missing_id(), 400, "Missing id in the query params"),
        (Response.no_key(), 401, "No apikey found in the x-api-key headers"),
        (Response.bad_key(), 401, "This apikey is not valid"),
        (Response.out_of_credits(), 402, "Not enough credits"),
        (Response.not_found(), 404, "Bulk search not found"),
        (Response.rate_limited(), 429, "Too Many Requests"),
        (Response.server_error(), 500, "Internal server error"),
        (Response.server_error(503), 503, "Internal server error"),
    ],
)
def test_scripted_errors(api: SimulatedEnrow, response: Response, status: int, message: str) -> None:
    api.respond("b", response)

    answer = get(api, "b")

    assert answer.status_code == status
    assert answer.json() == {"message": message}


@pytest.mark.parametrize(
    "response,headers,body",
    [
        (
            Response.rate_limited(3),
            {
                "Retry-After": "3",
                "X-RateLimit-Limit": "10",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": "3",
            },
            {},
        ),
        (Response.rate_limited(2, in_body=True), {"Retry-After": "2"}, {"retry_after": 2}),
        (Response.rate_limited(None), {"X-RateLimit-Remaining": "0"}, {}),
        (
            Response.rate_limited("Wed, 21 Oct 2015 07:28:00 GMT"),
            {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"},
            {},
        ),
    ],
)
def test_rate_limit_headers(
    api: SimulatedEnrow, response: Response, headers: dict[str, str], body: dict[str, int]
) -> None:
    api.respond("b", response)

    answer = get(api, "b")

    assert answer.status_code == 429
    assert headers.items() <= answer.headers.items()
    assert ("Retry-After" in answer.headers) is ("Retry-After" in headers)
    assert answer.json() == {"message": "Too Many Requests", **body}


def test_redirect_leads_to_another_server(api: SimulatedEnrow) -> None:
    with SimulatedEnrow() as other:
        api.respond("b", Response.redirect(f"{other.url}/phone/bulk?id=b"))
        answer = get(api, "b")
        assert answer.status_code == 302
        assert answer.headers["Location"] == f"{other.url}/phone/bulk?id=b"
        assert answer.content == b""
        assert other.requests == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: Response(truncate_after=1, stall_after=1),
        lambda: Response(drip_bytes_per_s=0),
        lambda: Response.rate_limited(None, in_body=True),
        lambda: SimulatedEnrow().respond("b"),
    ],
)
def test_impossible_responses_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()


# Scripts, looks and the record


def test_ongoing_completes_after_its_looks(api: SimulatedEnrow) -> None:
    api.add_ongoing("b", looks=2, results=10)

    seen = [get(api, "b").json() for _ in range(4)]

    assert [body["general"]["status"] for body in seen] == ["ongoing", "ongoing", "completed", "completed"]
    assert [body["stats"]["finished"] for body in seen[:2]] == [0, 5]
    assert not any("results" in body for body in seen[:2])
    assert seen[2] == seen[3] == bodies.completed("b", results=10)
    assert api.looks("b") == 4


def test_ongoing_for_ever(api: SimulatedEnrow) -> None:
    api.add_ongoing("b", looks=None, results=2, status=202)

    assert {(get(api, "b").status_code, get(api, "b").json()["general"]["status"]) for _ in range(3)} == {
        (202, "ongoing")
    }


def test_each_look_takes_the_next_response_and_the_last_repeats(api: SimulatedEnrow) -> None:
    api.respond("b", Response.server_error(), {"a": 1}, [1, 2], b"not json", lambda look: {"look": look})

    answers = [get(api, "b") for _ in range(6)]

    assert [answer.status_code for answer in answers] == [500, 200, 200, 200, 200, 200]
    assert [answer.text for answer in answers[1:]] == [
        '{"a":1}',
        "[1,2]",
        "not json",
        '{"look":4}',
        '{"look":5}',
    ]
    assert api.looks("b") == 6


def test_a_new_script_starts_over_but_looks_add_up(api: SimulatedEnrow) -> None:
    api.respond("b", {"n": 0})
    get(api, "b")
    api.respond("b", lambda look: {"n": look})

    assert get(api, "b").json() == {"n": 0}
    assert api.looks("b") == 2


def test_a_function_may_use_the_api_itself(api: SimulatedEnrow) -> None:
    def finish(look: int) -> dict[str, Any]:
        api.add_completed("b", results=1)
        return {"look": look, "looks": api.looks("b")}

    api.respond("b", finish)

    assert get(api, "b").json() == {"look": 0, "looks": 1}
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
    assert api.looks("a b/ü") == api.looks("unknown") == 1
    assert api.looks("never asked") == 0
    api.requests.clear()
    assert len(api.requests) == 3


def test_many_clients_at_once_each_take_one_response(api: SimulatedEnrow) -> None:
    api.respond("b", lambda look: {"look": look})

    with ThreadPoolExecutor(16) as pool:
        fetches = pool.map(lambda _: get(api, "b").json()["look"], range(64))

    assert sorted(fetches) == list(range(64))
    assert api.looks("b") == len(api.requests) == 64


def test_connections_are_kept_alive(api: SimulatedEnrow) -> None:
    api.add_completed("b", results=1)
    with closing(ask(api, "b")) as connection:
        first = connection.recv(65_536)
        while b"]}" not in first:
            first += connection.recv(65_536)
        connection.sendall(b"GET /phone/bulk?id=b HTTP/1.1\r\nHost: api.example\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401 ")


# Finished batches


def test_completed_batch_adds_up() -> None:
    body = bodies.completed("b", results=3000, found_share=0.6, seed=7)

    results = body["results"]
    found = [result for result in results if result["qualification"] == "found"]
    missed = [result for result in results if result["qualification"] == "not_found"]
    assert list(body) == ["general", "stats", "results"]
    assert body["general"] == {"id": "b", "status": "completed"}
    assert body["stats"] == {
        "credits_cost": 40 * 1800,
        "credits_to_refund": 40 * 1200,
        "requested": 3000,
        "found": 1800,
    }
    assert (len(found), len(missed)) == (1800, 1200)
    assert [result["index"] for result in results] == list(range(3000))
    assert all(result.keys() == {"index", "qualification", "number", "country", "params"} for result in found)
    assert all(result.keys() == {"index", "qualification", "params"} for result in missed)


def test_searches_are_of_the_documented_kinds() -> None:
    kinds = {frozenset(search) for search in bodies.searches("b", 500)}

    assert kinds == {
        frozenset({"linkedin_url"}),
        frozenset({"firstname", "lastname", "company_domain"}),
        frozenset({"firstname", "lastname", "company_name"}),
    }


def test_people_and_phones_are_fictional() -> None:
    results = bodies.completed("b", results=3000, found_share=1.0)["results"]

    numbers = [result["number"] for result in results]
    assert len(set(numbers)) == 3000
    assert all(len(number) == 12 and number[0:2] == "+1" and number[5:10] == "55501" for number in numbers)
    assert {result["country"] for result in results} == {"US", "CA", "BS", "BB", "JM", "TT"}
    for params in (result["params"] for result in results):
        assert params.get("linkedin_url", "https://www.linkedin.example/in/").startswith(
            "https://www.linkedin.example/in/"
        )
        assert params.get("company_domain", ".example").endswith(".example")


@pytest.mark.parametrize("share,found", [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_found_share(share: float, found: int) -> None:
    assert bodies.completed("b", results=4, found_share=share)["stats"]["found"] == found


def test_empty_batch() -> None:
    body = bodies.completed("b", results=0)

    assert body["results"] == []
    assert body["stats"] == {"credits_cost": 0, "credits_to_refund": 0, "requested": 0, "found": 0}


def test_a_seed_and_an_id_make_this_body_everywhere() -> None:
    assert bodies.completed("b", results=3, found_share=0.5, seed=1) == {
        "general": {"id": "b", "status": "completed"},
        "stats": {"credits_cost": 80, "credits_to_refund": 40, "requested": 3, "found": 2},
        "results": [
            {
                "index": 0,
                "qualification": "not_found",
                "params": {"linkedin_url": "https://www.linkedin.example/in/nils-coldbrook-0"},
            },
            {
                "index": 1,
                "qualification": "found",
                "number": "+17025550112",
                "country": "US",
                "params": {"firstname": "Clara", "lastname": "Northgate", "company_name": "Beacon Example Works"},
            },
            {
                "index": 2,
                "qualification": "found",
                "number": "+18765550144",
                "country": "JM",
                "params": {"linkedin_url": "https://www.linkedin.example/in/hugo-silverton-2"},
            },
        ],
    }


def test_bodies_depend_on_seed_and_id_alone() -> None:
    assert bodies.completed("b", 20) == bodies.completed("b", 20)
    assert bodies.completed("b", 20)["results"] != bodies.completed("b", 20, seed=1)["results"]
    assert bodies.completed("b", 20)["results"] != bodies.completed("c", 20)["results"]


def test_the_seed_of_the_api_reaches_its_batches() -> None:
    with SimulatedEnrow(seed=5) as api:
        api.add_completed("b", results=4, found_share=0.5)
        assert get(api, "b").json() == bodies.completed("b", 4, 0.5, seed=5)


def test_the_largest_batch_is_quick_to_make() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        bodies.completed("b")
        return time.perf_counter() - start

    # The best of several, with room for a busy machine.
    assert min(seconds() for _ in range(7)) < 0.05


def test_failed_batches(api: SimulatedEnrow) -> None:
    api.add_failed("plain")
    api.add_failed("null", {"requested": 2}, "null")
    api.add_failed("empty", {}, "empty")

    assert get(api, "plain").json() == {"general": {"id": "plain", "status": "failed"}}
    assert get(api, "null").json() == {
        "general": {"id": "null", "status": "failed"},
        "stats": {"requested": 2},
        "results": None,
    }
    assert get(api, "empty").json() == {
        "general": {"id": "empty", "status": "failed"},
        "stats": {},
        "results": [],
    }


# Contradictions


def served(api: SimulatedEnrow, **variants: Unpack[bodies.Variants]) -> dict[str, Any]:
    api.add_completed("b", results=4, found_share=0.5, **variants)
    body: dict[str, Any] = get(api, "b").json()
    return body


def test_found_under_its_older_name(api: SimulatedEnrow) -> None:
    assert served(api, found_key="valid")["stats"] == {
        "credits_cost": 80,
        "credits_to_refund": 80,
        "requested": 4,
        "valid": 2,
    }


@pytest.mark.parametrize("custom", ["spring", {"campaign": "spring"}, {}, ""])
def test_custom_as_text_or_object(api: SimulatedEnrow, custom: str | dict[str, str]) -> None:
    body = served(api, custom=custom, result_custom=custom)

    assert body["general"] == {"id": "b", "status": "completed", "custom": custom}
    assert [result["custom"] for result in body["results"]] == [custom] * 4


def test_index_as_numeric_string(api: SimulatedEnrow) -> None:
    assert [result["index"] for result in served(api, index_as_string=True)["results"]] == list("0123")


def test_no_refund(api: SimulatedEnrow) -> None:
    assert served(api, without_refund=True)["stats"] == {"credits_cost": 80, "requested": 4, "found": 2}


def test_null_when_not_found(api: SimulatedEnrow) -> None:
    results = served(api, null_when_not_found=True)["results"]

    missed = [result for result in results if result["qualification"] == "not_found"]
    assert len(missed) == 2
    assert all(result["number"] is None and result["country"] is None for result in missed)
    assert all(result["number"] for result in results if result not in missed)


def test_credits_as_object(api: SimulatedEnrow) -> None:
    stats = served(api, credits_as_object=True)["stats"]

    assert stats["credits_cost"] == {"initial": 160, "refunded": 80, "final": 80}


def test_older_plans_pay_50(api: SimulatedEnrow) -> None:
    stats = served(api, credits_per_phone=50)["stats"]

    assert (stats["credits_cost"], stats["credits_to_refund"]) == (100, 100)


def test_undocumented_fields_at_every_level(api: SimulatedEnrow) -> None:
    extra: bodies.Extra = {
        "top": {"new": "top"},
        "general": {"new": "general"},
        "stats": {"new": "stats"},
        "result": {"new": "result"},
        "params": {"new": "params"},
    }

    body = served(api, extra=extra)

    assert (body["new"], body["general"]["new"], body["stats"]["new"]) == ("top", "general", "stats")
    assert {(result["new"], result["params"]["new"]) for result in body["results"]} == {("result", "params")}


def test_contradictions_change_nothing_else(api: SimulatedEnrow) -> None:
    body = served(api, found_key="valid", custom="c", result_custom="r", extra={"params": {"new": 1}})

    for result in body["results"]:
        del result["custom"], result["params"]["new"]
    assert body["results"] == bodies.completed("b", 4, 0.5)["results"]


def test_ongoing_passes_its_options_on(api: SimulatedEnrow) -> None:
    api.add_ongoing("b", looks=1, results=2, status=202, found_key="valid")

    first, second = get(api, "b"), get(api, "b")

    assert (first.status_code, second.status_code) == (202, 200)
    assert "valid" in second.json()["stats"]


@pytest.mark.parametrize("variants", [{"found_keys": "valid"}, {"extra": {"results": {}}}])
def test_misspelt_options_are_refused(variants: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="no such variant"):
        bodies.completed("b", 1, **variants)


# Submitting, and the account


def post(api: SimulatedEnrow, body: object) -> requests.Response:
    return requests.post(f"{api.url}/phone/bulk", json.dumps(body), headers={"x-api-key": KEY}, timeout=5)


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


def test_submitted_ids_are_new_each_time_and_the_same_each_run() -> None:
    def ids(seed: int) -> list[str]:
        with SimulatedEnrow(seed=seed, looks_to_complete=0) as api:
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


def test_submitting_without_credits(api: SimulatedEnrow) -> None:
    api.credits = 39

    answer = post(api, {"searches": [{"linkedin_url": "u"}]})

    assert answer.status_code == 402
    assert api.credits == 39


def test_at_most_3000_searches(api: SimulatedEnrow) -> None:
    api.credits = 10**6
    search = {"linkedin_url": "https://www.linkedin.example/in/a"}

    assert post(api, {"searches": [search] * 3000}).status_code == 201
    assert post(api, {"searches": [search] * 3001}).status_code == 400


@pytest.mark.parametrize("body", [{}, [], {"searches": []}, {"searches": {}}, {"searches": ["a"]}])
def test_malformed_submissions(api: SimulatedEnrow, body: object) -> None:
    answer = post(api, body)

    assert answer.status_code == 400
    assert list(answer.json()) == ["message"]


def test_a_submission_that_is_not_json(api: SimulatedEnrow) -> None:
    url, headers = f"{api.url}/phone/bulk", {"x-api-key": KEY}
    assert requests.post(url, b"{", headers=headers, timeout=5).status_code == 400


# The wire


@pytest.mark.parametrize("fault", ["truncate_after", "reset_after"])
@pytest.mark.parametrize("count", [0, 40])
def test_connection_breaks_within_the_body(api: SimulatedEnrow, fault: str, count: int) -> None:
    response = Response(body=b"x" * 100, **{fault: count})  # type: ignore[arg-type] # chosen by name
    api.respond("b", response)

    with closing(ask(api, "b")) as connection:
        head, body, ended_by = received(connection)

    assert b"Content-Length: 100" in head
    assert body == b"x" * count
    assert ended_by is (ConnectionResetError if fault == "reset_after" else None)


def test_stall_holds_until_the_client_goes(api: SimulatedEnrow) -> None:
    api.respond("b", Response(body=b"x" * 100, stall_after=10))

    with closing(ask(api, "b", timeout_s=0.2)) as connection:
        head, body, ended_by = received(connection)

    assert b"Content-Length: 100" in head
    assert body == b"x" * 10
    assert ended_by is TimeoutError


def test_stopping_ends_stalled_slow_and_idle_connections() -> None:
    with SimulatedEnrow() as api:
        api.respond("stalled", Response(body=b"x" * 100, stall_after=10))
        api.respond("late", Response(body=b"x", delay_s=60))
        api.respond("slow", Response(body=b"x" * 1000, drip_bytes_per_s=1))
        api.add_completed("idle", results=1)
        connections = [ask(api, batch_id) for batch_id in ("stalled", "late", "slow", "idle")]
        while len(api.requests) < 4:
            time.sleep(0.001)
        url, start = api.url, time.perf_counter()

    for connection in connections:
        with closing(connection), suppress(ConnectionResetError):
            received(connection)
    assert time.perf_counter() - start < 5
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_chunked(api: SimulatedEnrow) -> None:
    text = b"x" * 20_000
    api.respond("b", Response(body=text, chunked=True), Response(body=text, chunked=True, truncate_after=5))

    whole = get(api, "b")
    with closing(ask(api, "b")) as connection:
        _, cut, _ = received(connection)

    assert whole.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in whole.headers
    assert whole.content == text
    assert cut == b"5\r\nxxxxx\r\n"


def test_gzip(api: SimulatedEnrow) -> None:
    api.respond("b", Response(body={"a": "ü" * 500}, gzip=True))

    with closing(ask(api, "b", keep="close")) as connection:
        head, body, _ = received(connection)

    assert b"Content-Encoding: gzip" in head
    assert gzip.decompress(body).decode() == '{"a":"' + "ü" * 500 + '"}'
    assert get(api, "b").json() == {"a": "ü" * 500}


def test_drip_takes_its_time(api: SimulatedEnrow) -> None:
    api.respond("b", Response(body=b"x" * 100, drip_bytes_per_s=1000))

    start = time.perf_counter()
    answer = get(api, "b")

    assert answer.content == b"x" * 100
    assert time.perf_counter() - start >= 0.1


def test_delay_and_latency_add_up() -> None:
    with SimulatedEnrow(latency_s=0.05) as api:
        api.respond("b", Response(delay_s=0.05), Response())
        start = time.perf_counter()
        get(api, "b")
        both = time.perf_counter()
        get(api, "b")
        latency = time.perf_counter()

    assert both - start >= 0.1
    assert latency - both >= 0.05


def test_own_headers_replace_the_usual_ones(api: SimulatedEnrow) -> None:
    api.respond("b", Response(502, b"<html>", {"Content-Type": "text/html", "Date": "then", "X-Other": "1"}))

    answer = get(api, "b")

    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["Date"] == "then"
    assert answer.headers["X-Other"] == "1"
    assert answer.status_code == 502


def test_the_console_stays_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    with SimulatedEnrow() as api:
        api.respond("b", Response(body=b"x" * 10**7))
        ask(api, "b").close()
        while not api.requests:
            time.sleep(0.001)
        get(api, "unknown")

    assert capfd.readouterr() == ("", "")


def test_there_is_no_address_outside_the_with_block() -> None:
    with pytest.raises(RuntimeError, match="with block"):
        _ = SimulatedEnrow().url


# Demo and command


def test_demo_batches_do_what_they_say(api: SimulatedEnrow) -> None:
    shown = demo_batches(api)

    seen = {}
    for batch_id in shown:
        if batch_id == "demo-cut-off":
            with pytest.raises(requests.RequestException):
                get(api, batch_id)
        seen[batch_id] = [get(api, batch_id) for _ in range(3)]

    def outcome(answer: requests.Response) -> str:
        body = answer.json()
        return str(body["general"]["status"] if answer.ok else answer.status_code)

    message = {
        "finished": ["completed"] * 3,
        "in progress for 2 looks, then finished": ["ongoing", "ongoing", "completed"],
        "in progress at every look": ["ongoing"] * 3,
        "202 while in progress for 2 looks, then finished": ["ongoing", "ongoing", "completed"],
        "failed": ["failed"] * 3,
        "400": ["400"] * 3,
        "402": ["402"] * 3,
        "404": ["404"] * 3,
        "429": ["429", "completed", "completed"],
        "500": ["500", "completed", "completed"],
    }
    for batch_id, answers in seen.items():
        text = shown[batch_id]
        expected = [outcomes for start, outcomes in message.items() if text.startswith(start)]
        assert [outcome(answer) for answer in answers] == (expected or [["completed"] * 3])[0], batch_id
    assert next(iter(shown)) == DOCUMENTED_ID
    assert len(seen["demo-3000"][0].json()["results"]) == 3000
    assert seen["demo-202"][0].status_code == 202


def test_command_serves_until_sigterm() -> None:
    command = [sys.executable, "-m", "enrow_source.testing", "--seed", "3", "--api-key", "k"]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        printed = list(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
        url = printed[0].split()[-1]
        answer = requests.get(f"{url}/phone/bulk", {"id": "demo-none-found"}, headers={"x-api-key": "k"}, timeout=5)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=5)
    finally:
        process.kill()

    assert answer.json() == bodies.completed("demo-none-found", 10, 0.0, seed=3)
    assert any("demo-rate-limited  " in line for line in printed)
    assert (process.returncode, err) == (0, "")


def test_the_simulated_api_shares_no_code_with_the_connector() -> None:
    package = Path(testing.__file__).parent
    for module in package.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom):
                outside = node.level == 0 and (node.module or "").split(".")[0] not in sys.stdlib_module_names
                assert not outside, (module, node.module)
                assert node.level <= 1, (module, node.module)
            if isinstance(node, ast.Import):
                assert all(name.name.split(".")[0] in sys.stdlib_module_names for name in node.names), module
