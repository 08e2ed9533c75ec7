"""The account behind the key: asking for it costs nothing, and tells whether a run could read anything.

API: `GET https://api.enrow.io/account/info`, https://enrow.readme.io
"""

from __future__ import annotations

from dataclasses import dataclass

from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.typing import TSecretStrValue

from ..errors import ConfigurationError
from ..settings import BASE_URL, SOURCE_NAME
from .client import EnrowClient


@dataclass(frozen=True, slots=True)
class Account:
    """An account that accepts the key."""

    credits: float | None
    """Credits left; None where the API does not tell."""


@configspec
class _Access(BaseConfiguration):
    """The settings of the source that a request takes."""

    enrow_api_key: TSecretStrValue | None = None
    enrow_base_url: str = BASE_URL


def fetch_account(enrow_base_url: str | None = None, enrow_api_key: str | None = None) -> Account:
    """Ask for the account behind a key: one request, without a second try.

    Args:
        enrow_base_url: Another API than the configured one.
        enrow_api_key: Another key than the configured one.

    Raises:
        ConfigurationError: There is no key, or key or URL cannot be used.
        InvalidApiKeyError: The API refused the key.
        BatchError: No usable answer.
    """
    access = resolve_configuration(_Access(), sections=("sources", SOURCE_NAME))
    key = enrow_api_key or access.enrow_api_key
    if key is None:
        raise ConfigurationError(
            f"no Enrow API key: set enrow_api_key under [sources.{SOURCE_NAME}] in .dlt/secrets.toml,"
            " or ENROW_API_KEY in the environment"
        )
    with EnrowClient(key, enrow_base_url or access.enrow_base_url, connections=1) as client:
        return Account(client.fetch_credits())
