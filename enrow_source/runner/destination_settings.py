"""Settings under `[destination]` that dlt would pass over in silence."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import get_args

import dlt
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.destination import AnyDestination

from ..errors import ConfigurationError, did_you_mean


def check_destination_settings(destination: AnyDestination) -> None:
    """Check the names of the settings of a destination.

    Raises:
        ConfigurationError: One is nearly one that dlt reads for a destination of this type.
    """
    name, fields = destination.destination_name, destination.spec.get_resolvable_fields()
    _check(("destination", name), fields)
    kinds = get_args(fields.get("credentials")) or (fields.get("credentials"),)
    specs = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseConfiguration)]
    _check(("destination", name, "credentials"), {key for spec in specs for key in spec.get_resolvable_fields()})


def check_destination_name(name: str) -> None:
    """Check that no destination is configured whose name is nearly that of the default one, which is not configured.

    Raises:
        ConfigurationError: There is one.
    """
    _check(("destination",), [name], "; name a destination of yours with --destination")


def _check(section: tuple[str, ...], known: Collection[str], advice: str = "") -> None:
    for place, key in _keys(section):
        if key not in known and (asked := did_you_mean(key, known, cutoff=0.8)):
            raise ConfigurationError(f"{place}: nothing reads {key} under [{'.'.join(section)}]{asked}{advice}")


def _keys(section: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the names that stand in a section, each with its file, or `the environment`."""
    for provider in dlt.config.config_providers:
        found, _ = provider.get_value(section[-1], dict, "", *section[:-1])
        yield from ((provider.name, key) for key in (found if isinstance(found, dict) else ()))
    prefix = f"{'__'.join(section).upper()}__"
    for variable in sorted(os.environ):
        if variable.startswith(prefix):
            yield "the environment", variable.removeprefix(prefix).partition("__")[0].lower()
