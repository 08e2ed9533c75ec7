"""The people to search: rows as they are given, checked one by one before anything is sent. Pure: no HTTP, no SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from ..errors import ConfigurationError
from ..settings import PERSON_CHARS
from ..tables.person import PERSON_FIELDS, person_key, profile_key

COLUMNS: Final = (*PERSON_FIELDS, "custom")
"""What a row may have; `custom` is the user's own key of the row."""

_ALIASES: Final = {
    "linkedin_url": "linkedin linkedin_profile linkedin_profile_url profile profile_url person_linkedin_url",
    "firstname": "first_name first given_name givenname prenom",
    "lastname": "last_name last surname family_name familyname nom",
    "company_domain": "domain company_website website company_url companydomain email_domain",
    "company_name": "company companyname organization organisation organization_name account_name employer",
    "custom": "id reference ref external_id row_id key lead_id contact_id person_id uuid",
}
_COLUMN_OF: Final = {alias: column for column, aliases in _ALIASES.items() for alias in aliases.split()}
_NO_PROFILE: Final = re.compile(r"linkedin\.[a-z.]+/(company|school|showcase|jobs|feed|posts|groups|search|pulse)(/|$)")


@dataclass(frozen=True, slots=True)
class Person:
    """A row that can be searched."""

    row: int
    """Its number, from 1, in the order given."""
    search: Mapping[str, str]
    """The fields that are sent, in the API's words, without `custom`."""
    key: str
    """What stands for the person; equal for all rows that are taken for the same one."""
    custom: str | None = None

    @property
    def kind(self) -> str:
        """`profile_url` or `name_and_company`: what the search is made by."""
        return "profile_url" if "linkedin_url" in self.search else "name_and_company"

    @property
    def body(self) -> dict[str, str]:
        """The search as the API takes it."""
        return dict(self.search) if self.custom is None else {**self.search, "custom": self.custom}


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A row that cannot be searched, and is left out."""

    row: int
    """Its number, from 1, in the order given."""
    reason: str
    """What is wrong; holds no value of the row, since those are personal data."""

    def __str__(self) -> str:
        """Name the row and the reason."""
        return f"row {self.row}: {self.reason}"


class BrokenRow(dict[str, Any]):
    """A row that could not be read as one, in the place where it stood."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


def check_columns(names: Iterable[str], where: str = "people") -> None:
    """Refuse columns that no search takes, with the alias to write.

    Raises:
        ConfigurationError: Names each of them.
    """
    names = list(names)
    wrong = [name for name in names if _column(name) not in COLUMNS]
    if wrong:
        # Only a column that is not there already can be the one that was meant.
        taken = {_column(name) for name in names}
        advice = ", ".join(_advice(name, taken) for name in wrong[:_NAMED])
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise ConfigurationError(f"{where} has columns that no search takes: {advice}{more}; the rest is {_LIST}")
    if not {_column(name) for name in names} & set(PERSON_FIELDS):
        raise ConfigurationError(f"{where} has no column that names a person: the columns are {_LIST}")


_NAMED: Final = 10
_LIST: Final = ", ".join(COLUMNS)


def check_rows(rows: Iterable[Mapping[str, Any]], where: str = "people") -> Iterator[Person | InvalidRow]:
    """Check each row; rows that cannot be searched come out with their number and the reason.

    Raises:
        ConfigurationError: A row has a column that no search takes, or is no mapping.
    """
    known: set[str] = set()
    for number, row in enumerate(rows, 1):
        if isinstance(row, BrokenRow):
            yield InvalidRow(number, row.reason)
            continue
        if not isinstance(row, Mapping):
            raise ConfigurationError(
                f"{where}, row {number} is a {type(row).__name__}: pass mappings such as {{'linkedin_url': ...}}"
            )
        names = {str(name) for name in row}
        if not names <= known:
            check_columns(map(str, row), f"{where}, row {number}")
            known |= names
        yield _checked(number, {_column(str(name)): value for name, value in row.items()})


def _column(name: str) -> str:
    return name.strip().lower()


def _advice(name: str, taken: set[str]) -> str:
    column = _COLUMN_OF.get(re.sub(r"[^a-z]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_"))
    if column is None:
        column = _COLUMN_OF.get(re.sub(r"[^a-z]", "", name.lower()))
    if column is None or column in taken:
        return f"{name!r:.80} (leave it out)"
    return f"{name!r:.80} (write {name:.80} AS {column})"


def _checked(number: int, row: Mapping[str, Any]) -> Person | InvalidRow:
    values: dict[str, str] = {}
    for column in COLUMNS:
        text = _text(row.get(column), is_reference=column == "custom")
        if isinstance(text, _Wrong):
            return InvalidRow(number, f"{column} {text.what}")
        if text:
            values[column] = text
    custom = values.pop("custom", None)
    problem = _problem(values)
    key = person_key(values)
    if problem is not None or key is None:
        return InvalidRow(number, problem or _INCOMPLETE)
    return Person(number, values, key, custom)


_INCOMPLETE: Final = "it needs linkedin_url, or firstname, lastname and company_domain or company_name"


@dataclass(frozen=True, slots=True)
class _Wrong:
    what: str


def _text(value: object, *, is_reference: bool) -> str | _Wrong:
    """Return the text of a value, trimmed; empty for none."""
    # NaN and NaT, which a data frame has for nothing, differ from themselves.
    if value is None or value != value:  # noqa: PLR0124
        return ""
    if is_reference and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        kind = type(value).__name__
        return "" if kind in ("NAType", "NaTType") else _Wrong(f"is a {kind}, not a text")
    text = value.strip()
    if len(text) > PERSON_CHARS:
        return _Wrong(f"has more than {PERSON_CHARS} characters")
    if any(ord(one) < ord(" ") or one == "\x7f" for one in text) or text.encode(errors="replace").decode() != text:
        return _Wrong("has control characters, or others that no text can hold")
    return text


def _problem(values: Mapping[str, str]) -> str | None:
    """Return why the search cannot be made; None where it can."""
    if url := values.get("linkedin_url"):
        key = profile_key(url)
        host, _, path = key.partition("/")
        if not host.startswith("linkedin.") or not path or re.search(r"\s", unquote(url)):
            return "linkedin_url is no address of a profile, such as https://www.linkedin.com/in/NAME"
        if _NO_PROFILE.match(key) or path in ("in", "pub"):
            return "linkedin_url is not the address of a person's profile, which has /in/NAME"
        return None
    missing = [name for name in ("firstname", "lastname") if name not in values]
    if "company_domain" not in values and "company_name" not in values:
        missing.append("company_domain or company_name")
    if missing:
        return f"{' and '.join(missing)} missing: {_INCOMPLETE}"
    domain = values.get("company_domain", "a.b")
    if not re.fullmatch(r"[^\s@/:?#.]+(\.[^\s@/:?#.]+)+\.?", domain):
        return "company_domain is no domain, such as example.com"
    return None
