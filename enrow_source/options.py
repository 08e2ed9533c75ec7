"""The options of the source, checked."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final, ParamSpec

import dlt
from dlt.common.configuration.const import TYPE_EXAMPLES
from dlt.common.reflection.spec import spec_from_signature
from dlt.extract import DltResource, DltSource

from .api.access import SourceSettings
from .destination.suppressions import Suppressions
from .errors import ConfigurationError, UnknownOptionError
from .fetch.results import Progress
from .ids.shard import Shard
from .settings import CONNECTIONS_LIMIT, SOURCE_NAME
from .tables.privacy import Pii


@dataclass(frozen=True, slots=True)
class Options:
    """What bounds an extraction and who is notified; see `enrow_source` for each."""

    max_batches: int | None
    retry_failed: bool
    refetch: bool
    shard: Shard
    stuck_after_h: float | None
    warn_after_h: float | None
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
    """Check that every option that is passed or configured exists, and stands where it is read.

    Raises:
        UnknownOptionError: One does not; names the one that is closest to it.
        ConfigurationError: A file is no TOML, or holds settings in a section that nothing reads, or an option that was
            never filled in; or a variable does.
    """
    if (misplaced := next(misplaced_settings(known), None)) is not None:
        raise ConfigurationError(str(misplaced))
    configured: dict[str, Any] = {
        name.removeprefix(_PREFIX).lower(): "" for name in os.environ if name.startswith(_PREFIX)
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
    if arguments := sorted({*named} & _ARGUMENTS):
        raise ConfigurationError(
            f"{', '.join(arguments)} under [sources.{SOURCE_NAME}] is not read: pass it as an argument, or name a file"
            " of ids in batch_ids_file"
        )
    if unset := sorted(name for name, value in configured.items() if value == _PLACEHOLDER):
        raise ConfigurationError(
            f"{', '.join(unset)} under [sources.{SOURCE_NAME}] is still {_PLACEHOLDER}, as dlt init writes it: set it,"
            " or delete the line"
        )


@dataclass(frozen=True, slots=True)
class Misplaced:
    """Something that is nearly a setting of the source, and that nothing reads."""

    place: str
    """A file, or `the environment`."""
    message: str

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.place}: {self.message}"


def misplaced_settings(options: Collection[str]) -> Iterator[Misplaced]:
    """Yield what dlt would pass over in silence, in the files that it reads here and in the environment.

    Args:
        options: Names of the options of the source.

    Raises:
        ConfigurationError: A file is no TOML; names the line.
    """
    for file in settings_files():
        for written, section in _misplaced_in(read_settings(file), options):
            yield Misplaced(str(file), f"nothing reads {written}, did you mean [{section}]?")
    for name in sorted(os.environ):
        first, _, rest = name.partition("__")
        if rest and first != "DESTINATION" and _closest(first, ("DESTINATION",)):
            yield Misplaced("the environment", f"nothing reads {name}, did you mean DESTINATION__{rest}?")
        if (meant := _meant_variable(name, options)) is not None:
            yield Misplaced("the environment", f"nothing reads {name}, did you mean {meant}?")


def settings_files() -> list[Path]:
    """Return the files that dlt reads here."""
    places = [place for provider in dlt.config.config_providers for place in provider.present_locations or ()]
    return [file for place in dict.fromkeys(places) if (file := Path(place)).suffix == ".toml" and file.is_file()]


def read_settings(file: Path) -> dict[str, Any]:
    """Read a file of settings.

    Raises:
        ConfigurationError: It is no TOML; names the line.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"^(.*) \(at line (\d+), column \d+\)$", str(error))
        place, reason = (f"{file}:{found[2]}", found[1]) if found else (str(file), str(error))
        raise ConfigurationError(f"{place} is no TOML: {reason}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from None


def _misplaced_in(content: Mapping[str, Any], options: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what nothing reads and is nearly something that is read, each with that."""
    ours = f"sources.{SOURCE_NAME}"
    for section, below in content.items():
        if not isinstance(below, dict):
            # The key is read there, as ENROW_API_KEY is in the environment.
            if section in options and section != "enrow_api_key":
                yield section, ours
            continue
        sections = [name for name, value in below.items() if isinstance(value, dict)]
        if section in _ALIASES:
            # dlt reads its sections there for a pipeline of that name, which the command's has not: `pii` is in force
            # for every pipeline under `[sources]` alone.
            if not below.keys() <= set(SECTIONS) - {"sources"}:
                yield f"[{section}]", ours
        elif section not in SECTIONS and (meant := _closest(section, SECTIONS)):
            yield f"[{'.'.join([section, *sections[:1]])}]", ".".join([meant, *sections[:1]])
        elif section == "sources":
            yield from ((f"{name} under [sources]", ours) for name in below if name in options)
            for name in sections:
                is_like = name in _ALIASES or _closest(name, (SOURCE_NAME,)) is not None
                if name != SOURCE_NAME and (is_like or (SOURCE_NAME in name and set(below[name]) & set(options))):
                    yield f"[sources.{name}]", ours


def _meant_variable(name: str, options: Collection[str]) -> str | None:
    """Return the variable that is meant, where a name is nearly one of ours."""
    if name.startswith(_PREFIX) or name == "ENROW_API_KEY":
        return None
    upper = name.upper()
    option = max((o for o in options if upper.endswith(o.upper())), key=len, default="")
    before = upper.removesuffix(option.upper()) if option else upper.rpartition("__")[0]
    written = before.replace("_", "")
    if upper == f"SOURCES__{option.upper()}":
        is_ours = True
    elif not written:
        # A bare option is another program's, unless it names us.
        is_ours = option.startswith(SOURCE_NAME)
    elif "SOURCE" in written or option:
        aliases = [alias.upper().replace("_", "") for alias in _ALIASES]
        known = [f"{first}{alias}" for first in ("", "SOURCE", "SOURCES", "ENROWSOURCES") for alias in aliases]
        is_ours = bool(difflib.get_close_matches(written, known, n=1, cutoff=0.9))
    else:
        is_ours = False
    return f"{_PREFIX}{option.upper() or upper.rpartition('__')[2]}" if is_ours else None


def _closest(name: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.8)), None)


SECTIONS: Final = ("sources", "destination", "runtime", "extract", "normalize", "load", "data_writer", "schema")
"""What dlt reads at the top of its files, as far as this source is concerned."""

_ALIASES: Final = (SOURCE_NAME, "enrow_source", "phone_bulk")
"""What people call the section, which is the first of these under `[sources]`."""

_PREFIX: Final = f"SOURCES__{SOURCE_NAME.upper()}__"


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

_ARGUMENTS: Final = frozenset({"batch_ids", "suppressions", "stop", "progress"})
"""What is no setting, but an argument alone."""

_PLACEHOLDER: Final = str(TYPE_EXAMPLES["text"])
"""What `dlt init` writes for a person to replace."""

_DLT_OPTIONS: Final = ("max_table_nesting", "root_key")
"""Settings of any dlt source, which dlt reads from the same section."""

_Arguments = ParamSpec("_Arguments")


def in_own_section(make: Callable[_Arguments, Sequence[DltResource]]) -> Callable[_Arguments, DltSource]:
    """Make a dlt source whose arguments are read from `[sources.enrow]` and from nowhere else.

    dlt makes a spec of the signature too, but on a base without a section, and so reads a bare `SHARD` as well.
    """
    spec, _ = spec_from_signature(make, inspect.signature(make), base=SourceSettings)
    return dlt.source(make, name=SOURCE_NAME, section=SOURCE_NAME, spec=spec)
