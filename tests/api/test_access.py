"""Base URL and key: which are taken, and where the key goes."""

from http import HTTPStatus

import pytest

from enrow_source import ConfigurationError, EnrowError
from enrow_source.api.client import EnrowClient
from enrow_source.testing import Response, SimulatedEnrow
from tests.api.requests_made import BODY, text_of_error

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.enrow.io",
        "https://api.enrow.io/",
        " https://enrow.example:8443 ",
        "HTTPS://API.ENROW.IO",
        "http://localhost:8080",
        "http://127.0.0.1",
        "http://127.1.2.3:80",
        "http://[::1]:8080",
    ],
)
def test_https_and_loopback_are_fine(url: str) -> None:
    assert "key" not in repr(EnrowClient("a-made-up-key", url))


@pytest.mark.parametrize(
    "url",
    [
        "http://api.enrow.io",
        "http://10.0.0.1:8080",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://0.0.0.0",
        "ftp://api.enrow.io",
        "file:///etc/passwd",
        "api.enrow.io",
        "//api.enrow.io",
        "https://",
        "https:///phone",
        "",
        " ",
        "https://api.enrow.io/phone/bulk",
        "https://api.enrow.io/?id=1",
        "https://api.enrow.io/#x",
        "https://api.enrow.io:99999",
        "https://api.enrow.io:port",
        "https://[::1",
        "https://h\u2100ost",
        "https://ho st",
        "https://api.enrow.io\n.example.com",
        "https://someone:hunter2@api.enrow.io",
        "https://hunter2@api.enrow.io",
        "http://127.0.0.1@example.com",
        "http://someone:hunter2@127.0.0.1:8080",
        "ftp://someone:hunter2@api.enrow.io",
        "someone:hunter2@api.enrow.io",
        "https://someone:hunter2@[::1",
        "https://someone:hunt/hunter2@api.enrow.io",
        "https://someone:hunt#hunter2@api.enrow.io",
        "https://someone:hunt?hunter2@api.enrow.io",
        "https://someone:hunt@hunter2@api.enrow.io",
        "https://api.enrow.io/?user=someone:hunter2@x",
    ],
)
def test_other_base_urls_are_refused(url: str) -> None:
    """Any other base URL is an error that names the fix and shows no password."""
    with pytest.raises(ConfigurationError, match="enrow_base_url") as caught:
        EnrowClient("a-made-up-key", url)
    message = str(caught.value)
    assert "https" in message
    assert "hunter2" not in message
    assert "a-made-up-key" not in message


@pytest.mark.parametrize(
    "key", ["", " ", "\n", "made-up\nkey", "made-up key", "made-up\r\nx-other: 1", "made-up\x00", "made-up-kéy"]
)
def test_invalid_key_is_not_shown(key: str) -> None:
    """A key that cannot be a key is an error that does not show it."""
    with pytest.raises(ConfigurationError, match="ENROW_API_KEY") as caught:
        EnrowClient(key, "https://api.enrow.io")
    assert "made-up" not in f"{caught.value!s}{caught.value!r}"


def test_a_key_is_trimmed(api: SimulatedEnrow) -> None:
    api.add_completed("batch-1", 1)
    with EnrowClient(f" {api.api_key}\n", api.url) as client:
        assert client.fetch_batch("batch-1").http_status == HTTPStatus.OK


@pytest.mark.parametrize(
    "response",
    [
        Response.unreadable(),
        Response.bad_key(),
        Response.out_of_credits(),
        Response.rate_limited(0),
        Response.server_error(),
        Response(418),
        Response.redirect("http://example.com/"),
        Response(body=BODY, reset_after=10),
    ],
    ids=["400", "401", "402", "429", "500", "418", "redirect", "reset"],
)
def test_the_key_is_in_no_error(api: SimulatedEnrow, client: EnrowClient, response: Response) -> None:
    """The key is in nothing that an error holds."""
    api.respond("batch-1", response)
    with pytest.raises(EnrowError) as caught:
        client.fetch_batch("batch-1")
    message = text_of_error(caught.value)
    assert "fetch_batch" in message
    assert api.api_key not in message


@pytest.mark.parametrize("status", [400, 401, 402, 404, 418, 429, 500])
def test_key_repeated_by_the_api_is_not_shown(api: SimulatedEnrow, client: EnrowClient, status: int) -> None:
    """A key that the API repeats in its response is not shown."""
    api.respond("batch-1", Response.message(status, f"{api.api_key} is unknown"))
    with pytest.raises(EnrowError, match=r"\*\*\* is unknown") as caught:
        client.fetch_batch("batch-1")
    assert api.api_key not in f"{caught.value!s} {caught.value!r} {vars(caught.value)}"


def test_missing_certificate_file_is_named(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing certificate file is named, without the key."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    url = api.url.replace("http:", "https:")
    with EnrowClient(api.api_key, url) as client, pytest.raises(EnrowError, match=r"/nowhere/ca\.pem") as caught:
        client.fetch_batch("batch-1")
    message = text_of_error(caught.value)
    assert api.api_key not in message
