"""The documented examples and errors, over real HTTP on loopback."""

import json
from collections.abc import Callable

import pytest
import requests

from enrow_source.testing import Response, SimulatedEnrow
from tests.testing.calls import COMPLETED, DOCUMENTED_ID, ERROR, KEY, ONGOING, get


def test_documented_batch_has_the_documented_values(api: SimulatedEnrow) -> None:
    assert api.add_documented() == DOCUMENTED_ID

    response = get(api, DOCUMENTED_ID)

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("application/json")
    assert response.json() == COMPLETED
    assert response.content == json.dumps(COMPLETED, separators=(",", ":")).encode()


def test_ongoing_batch_has_the_documented_values(api: SimulatedEnrow) -> None:
    api.add_ongoing(DOCUMENTED_ID, fetches=1, results=2)

    response = get(api, DOCUMENTED_ID)

    assert response.status_code == 200
    assert response.json() == ONGOING


def test_unknown_batch_has_the_documented_error(api: SimulatedEnrow) -> None:
    response = get(api, "no-such-batch")

    assert response.status_code == 400
    assert response.json() == ERROR


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


def test_refused_key_counts_no_get(api: SimulatedEnrow) -> None:
    """A request with a refused key does not count as a GET of the batch."""
    api.add_completed("b", results=1)

    get(api, "b", key="wrong")

    assert api.fetches("b") == 0
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
