"""Responses that concern the account: each has an error of its own."""

import pytest

from enrow_source import InvalidApiKeyError, NotAllowedError, OutOfCreditsError
from enrow_source.api.client import EnrowClient
from enrow_source.errors import ErrorKind, RequestFailedError
from enrow_source.testing import Response, SimulatedEnrow, bodies


def refused(client: EnrowClient, api: SimulatedEnrow, response: Response, error: type[Exception]) -> str:
    api.respond("batch-1", response)
    with pytest.raises(error) as caught:
        client.fetch_batch("batch-1")
    assert api.fetches("batch-1") == 1, "it is not tried again"
    return str(caught.value)


def test_a_plan_without_phones_is_no_bad_key(api: SimulatedEnrow, client: EnrowClient) -> None:
    """A person who reads that the key is bad makes a new one, and it does not help."""
    message = refused(client, api, Response.not_allowed(), NotAllowedError)
    assert "the key is right" in message
    assert "check enrow_api_key" not in message
    assert not issubclass(NotAllowedError, InvalidApiKeyError)


@pytest.mark.parametrize(
    "response, reason",
    [
        (Response(402, {"message": "Not enough credits"}), "Not enough credits"),
        (Response(402, {"reason": "Insufficient credits", "success": False}), "Insufficient credits"),
        (Response(402), "Payment Required"),
        (Response(422, {"message": "Insufficient balance"}), "Insufficient balance"),
        (Response(422, {"reason": "No credits left", "success": False}), "No credits left"),
    ],
    ids=["402 message", "402 reason", "402 empty", "422 message", "422 reason"],
)
def test_out_of_credits(api: SimulatedEnrow, client: EnrowClient, response: Response, reason: str) -> None:
    message = refused(client, api, response, OutOfCreditsError)
    assert f"out of credits ({reason})" in message


def test_another_422_concerns_its_batch(api: SimulatedEnrow, client: EnrowClient) -> None:
    api.respond("batch-1", Response(422, {"message": "id must be a UUID"}))
    with pytest.raises(RequestFailedError) as caught:
        client.fetch_batch("batch-1")
    assert (caught.value.kind, caught.value.message) == (ErrorKind.UNEXPECTED_STATUS, "id must be a UUID")


@pytest.mark.usefixtures("quick")
def test_503_is_tried_again(api: SimulatedEnrow, client: EnrowClient) -> None:
    api.respond("batch-1", Response(503), bodies.completed("batch-1", 1))
    assert client.fetch_batch("batch-1").http_status == 200
    assert api.fetches("batch-1") == 2
