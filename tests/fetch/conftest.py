"""Fixtures of the tests of fetching."""

import pytest

from tests.fetch.faults import ATTEMPTS, LONGEST_WAIT_S, TIMEOUT_S


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", str(ATTEMPTS))
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", str(TIMEOUT_S))
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_RETRY_DELAY", str(LONGEST_WAIT_S))
