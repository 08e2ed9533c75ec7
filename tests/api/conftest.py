"""Fixtures of the tests of the API's client."""

from collections.abc import Iterator

import pytest

from enrow_source.api.client import EnrowClient
from enrow_source.testing import SimulatedEnrow


@pytest.fixture
def client(api: SimulatedEnrow) -> Iterator[EnrowClient]:
    with EnrowClient(api.api_key, api.url) as running:
        yield running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "3")
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "10")
