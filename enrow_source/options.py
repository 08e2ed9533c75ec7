"""The options of the source, checked."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any, Final

import dlt

from .destination.suppressions import Suppressions
from .errors import ConfigurationError, UnknownOptionError
from .fetch.results import Progress
from .ids.shard import Shard
from .settings import CONNECTIONS_LIMIT, SOURCE_NAME
from .tables.privacy import Pii


@dataclass(frozen=True, slots=True)
class Options:
    """What bounds an extraction and who is told of it; see `enrow_source` for each."""

    max_batches: int | None
    retry_failed: bool
    shard: Shard
    stuck_after_h: float | None
    deadline_s: float | None
    max_consecutive_failures: int
    give_up_fetches: int
    give_up_days: float
    suppressions: Suppressions | None
    stop: Event | None
    progress: Callable[[Progress], None] | None


def parse_pii(pii: str) -> Pii:
    """Read the option `pii`.

    Raises:
        ConfigurationError: It is none of the modes.
    """
    if pii not in list(Pii):
        raise ConfigurationError(f"pii is {pii!r}: set it to {', '.join(Pii)}")
    return Pii(pii)


def contract_hints(contract: Any) -> dict[str, Any]:  # noqa: ANN401 - from a call or from the configuration
    """Read the option `schema_contract`, and return the hint of a resource; none where there is no contract.

    Raises:
        ConfigurationError: It is no contract.
    """
    modes = dict.fromkeys(_CONTRACT_ENTITIES, contract) if isinstance(contract, str) else contract or {}
    if (
        not isinstance(modes, Mapping)
        or not set(modes) <= set(_CONTRACT_ENTITIES)
        or not set(modes.values()) <= set(_CONTRACT_MODES)
    ):
        raise ConfigurationError(
            f"schema_contract is {contract!r:.80}: set it to {', '.join(_CONTRACT_MODES)},"
            f" or set {', '.join(_CONTRACT_ENTITIES)} under it to one of these"
        )
    return {"schema_contract": dict(modes)} if modes else {}


_CONTRACT_ENTITIES: Final = ("tables", "columns", "data_type")
_CONTRACT_MODES: Final = ("evolve", "freeze", "discard_row", "discard_value")


def check_names(unknown: Mapping[str, Any], known: Collection[str]) -> None:
    """Check that every option that is passed or configured exists.

    Raises:
        UnknownOptionError: One does not; names the one that is closest to it.
    """
    prefix = f"SOURCES__{SOURCE_NAME.upper()}__"
    configured: dict[str, Any] = {
        name.removeprefix(prefix).lower(): "" for name in os.environ if name.startswith(prefix)
    }
    for provider in dlt.config.config_providers:
        section, _ = provider.get_value(SOURCE_NAME, dict, "", "sources")
        configured |= section if isinstance(section, dict) else {}
    # A nested section may configure a resource, or what dlt itself reads there.
    named = [name for name, value in configured.items() if not isinstance(value, dict) and "__" not in name]
    for name in [*unknown, *named]:
        if name not in (*known, *SUBMIT_OPTIONS, *_DLT_OPTIONS):
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"the options are {', '.join(known)}"
            where = "" if name in unknown else f" under [sources.{SOURCE_NAME}]"
            raise UnknownOptionError(f"enrow_source has no option {name!r}{where}: {hint}")


def check_limits(limits: Mapping[str, Any]) -> None:
    """Check that each limit is a number above 0, or None where it may be left out.

    Raises:
        ConfigurationError: One is not.
    """
    for name, limit in limits.items():
        if limit is not None and not (isinstance(limit, int | float) and limit > 0):
            raise ConfigurationError(f"{name} is {limit!r}: set it to more than 0, or leave it out")
    if (limits["connections"] or 0) > CONNECTIONS_LIMIT:
        raise ConfigurationError(f"connections is {limits['connections']}: set it to 1 to {CONNECTIONS_LIMIT}")


SUBMIT_OPTIONS: Final = ("credits_per_found", "min_credits", "people_database")
"""Settings of the commands, in the same section."""

_DLT_OPTIONS: Final = ("max_table_nesting", "root_key")
"""Settings of any dlt source, which dlt reads from the same section."""
