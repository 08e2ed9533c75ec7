"""The account behind the key: a request for it costs nothing, and shows whether a run could read anything.

API: `GET https://api.enrow.io/account/info`, https://enrow.readme.io
"""

from __future__ import annotations

from dataclasses import dataclass

from .access import configured_access
from .client import EnrowClient


@dataclass(frozen=True, slots=True)
class Account:
    """An account that accepts the key."""

    credits: float | None
    """Credits left; None where the API does not say."""


def fetch_account(enrow_base_url: str | None = None, enrow_api_key: str | None = None) -> Account:
    """Ask for the account behind a key, the configured one where none is given: one request, without a second try.

    Raises:
        ConfigurationError: There is no key, or key or URL cannot be used.
        InvalidApiKeyError: The API refused the key.
        BatchError: No usable answer.
    """
    api_key, configured_url = configured_access(enrow_api_key)
    with EnrowClient(api_key, enrow_base_url or configured_url, connections=1) as client:
        return Account(client.fetch_credits())
