"""The settings of the source that submitting takes too."""

from __future__ import annotations

from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.typing import TSecretStrValue

from ..api.access import SourceSettings
from ..errors import ConfigurationError
from ..settings import BASE_URL, CREDITS_PER_FOUND, SOURCE_NAME
from ..tables.privacy import Pii, Privacy


@configspec
class SubmitSettings(SourceSettings):
    """Settings under `[sources.enrow]`."""

    enrow_api_key: TSecretStrValue | None = None
    enrow_base_url: str = BASE_URL
    pii: str = Pii.KEEP.value
    pii_secret: TSecretStrValue | None = None
    credits_per_found: float = CREDITS_PER_FOUND
    people_database: TSecretStrValue | None = None
    """SQLAlchemy URL of the database that a query of people reads; None for the destination."""

    @classmethod
    def read(cls) -> SubmitSettings:
        """Read them from files and environment."""
        return resolve_configuration(cls(), sections=("sources", SOURCE_NAME))

    def privacy(self) -> Privacy:
        """Return what becomes of personal data.

        Raises:
            ConfigurationError: `pii` is none of its values, or the secret is missing.
        """
        if self.pii not in list(Pii):
            raise ConfigurationError(f"pii is {self.pii!r}: set it to {', '.join(Pii)}")
        privacy = Privacy(Pii(self.pii), self.pii_secret)
        if privacy.mode is not Pii.KEEP and privacy.secret is None:
            raise ConfigurationError(
                f'pii = "{privacy.mode}" needs pii_secret to submit: a keyed hash shows who was sent before; set it'
                f" under [sources.{SOURCE_NAME}] in .dlt/secrets.toml, and keep it"
            )
        return privacy
