"""The key and the URL of the API, checked before the first request."""

from __future__ import annotations

from ipaddress import ip_address
from typing import ClassVar
from urllib.parse import urlsplit

import dlt
from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.typing import TSecretStrValue

from ..errors import ConfigurationError
from ..settings import BASE_URL, SOURCE_NAME


@configspec
class SourceSettings(BaseConfiguration):
    """Settings that stand under `[sources.enrow]` or in `SOURCES__ENROW__*`, and nowhere else.

    Without a section of its own, dlt falls back to a bare `SHARD` or `PII`, which may be another program's.
    """

    __section__: ClassVar[str] = SOURCE_NAME


@configspec
class Access(SourceSettings):
    """The settings of the source that a request takes."""

    enrow_api_key: TSecretStrValue | None = None
    enrow_base_url: str = BASE_URL


def configured_access(api_key: str | None = None) -> tuple[str, str]:
    """Read key and URL from the configuration, where the key is not given; raises ConfigurationError without a key."""
    access = resolve_configuration(Access(), sections=("sources", SOURCE_NAME))
    return checked_is_set(api_key or access.enrow_api_key), access.enrow_base_url


def checked_is_set(api_key: TSecretStrValue | None) -> TSecretStrValue:
    """Return the key, else the one in `ENROW_API_KEY`; raises ConfigurationError where there is none."""
    if api_key is None:
        api_key = dlt.secrets.get("enrow_api_key")
    if api_key is None:
        raise ConfigurationError(
            f"no Enrow API key: set enrow_api_key under [sources.{SOURCE_NAME}] in .dlt/secrets.toml,"
            " or ENROW_API_KEY in the environment"
        )
    return api_key


def checked_base_url(base_url: str) -> str:
    """Return scheme and host of the URL; raises ConfigurationError where the key must not go there."""
    fix = "set enrow_base_url to scheme and host alone, such as https://api.enrow.io"
    shown = base_url.rsplit("@", 1)[-1]  # what stands before may be a password
    try:
        parts = urlsplit(base_url.strip())
        has_host = (
            bool(parts.hostname) and parts.port != 0 and base_url.strip().isprintable() and " " not in parts.netloc
        )
    except ValueError:
        has_host = False
    if not has_host or parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"enrow_base_url {shown!r} is no http(s) URL: {fix}")
    if "@" in base_url:
        raise ConfigurationError(f"enrow_base_url for {shown!r} holds a user or a password: {fix}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigurationError(f"enrow_base_url {shown!r} holds a path or a query: {fix}")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ConfigurationError(f"enrow_base_url {shown!r} would send the API key unencrypted: use https")
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def checked_api_key(api_key: str) -> str:
    """Return the key without surrounding space; raises ConfigurationError where no key can have that form."""
    api_key = api_key.strip()
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ConfigurationError(
            "the Enrow API key is empty or holds characters that no key has: set enrow_api_key under"
            " [sources.enrow] in .dlt/secrets.toml, or ENROW_API_KEY in the environment"
        )
    return api_key
