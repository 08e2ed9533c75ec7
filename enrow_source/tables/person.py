"""Who is the same person: one rule for erasing, for submitting and, in SQL, for the dbt models.

`tests/support/same_person.json` holds the examples that all of them are tested with. Pure: text in, text out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

PERSON_FIELDS: Final = ("linkedin_url", "firstname", "lastname", "company_domain", "company_name")
"""What a search may say about a person, in the API's words."""

OTHER_NAMES: Final = ("first_name", "last_name", "fullname", "full_name", "name")
"""What clients send in place of `firstname` and `lastname`: the API sends back what it got."""

_PLAIN_PROFILE: Final = re.compile(r"https?://(?:www\.)?(linkedin\.com/in/[a-z0-9_-]+)/?")
"""Nearly all of them; what it matches needs no other rule than the ones it applies."""
_SCHEME: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//")
_PORT: Final = re.compile(r":\d*$")
_LINKEDIN_HOST: Final = re.compile(r"(?:[a-z]{2}|m|mobile|touch)\.(?=linkedin\.)")
"""A host of a country or of a device, before the site that all of them show."""
_PROFILE: Final = re.compile(r"in/[^/]+")
_PARAMETER: Final = re.compile(r";.*|(?:\bext(?:ension)?\b\.?|\bx(?=\s*\d)|#).*", re.IGNORECASE | re.DOTALL)
_TRUNK: Final = re.compile(r"\(\s*0\s*\)")


def profile_key(url: str) -> str:
    """Return the one spelling of a profile's address: `linkedin.com/in/alma`; empty where there is none.

    Without scheme, user, port, `www.` or the host of a country, query, fragment, what follows the profile's name, and
    slashes at the end; decoded, composed (NFC) and in lower case.
    """
    if (plain := _PLAIN_PROFILE.fullmatch(url)) is not None:
        return plain[1]
    text = re.split(r"[?#]", _folded(url).strip(), maxsplit=1)[0]
    # Twice encoded is what a spreadsheet or a redirect leaves; a third time changes nothing that a person has written.
    text = _folded(unquote(unquote(text))).strip()
    text = re.split(r"[?#]", text, maxsplit=1)[0]
    text = _SCHEME.sub("", text, count=1) if _SCHEME.match(text) else text
    host, _, path = text.partition("/")
    host = _PORT.sub("", host.rpartition("@")[2]).strip(".")
    host = _LINKEDIN_HOST.sub("", host.removeprefix("www."), count=1)
    path = re.sub(r"/+", "/", path).strip("/ ")
    # Languages and details follow the name of a profile, and show the same person.
    if host.startswith("linkedin.") and (profile := _PROFILE.match(path)):
        path = profile[0].strip()
    return f"{host}/{path}" if path else host


def number_key(number: str) -> str:
    """Return the one spelling of a phone number: `+` and its digits; empty where it has none.

    Without `tel:`, extensions (`;ext=`), separators, and the `(0)` of a country; `00` is `+`; digits of any script.
    """
    _, digits = _number(number)
    return f"+{digits}" if digits else ""


def is_international(number: str) -> bool:
    """Return whether a number names its country: it begins with `+` or `00`, and has as many digits as a number has."""
    is_named, digits = _number(number)
    return is_named and re.fullmatch(r"[1-9][0-9]{4,14}", digits) is not None


def _number(number: str) -> tuple[bool, str]:
    """Return whether the number names its country, and its digits from there on."""
    text = _TRUNK.sub("", _PARAMETER.sub("", unicodedata.normalize("NFKC", number).lower()))
    digits = "".join(str(unicodedata.decimal(one)) for one in text if one.isdecimal())
    if re.match(r"[^+\d]*\+", text):
        return True, digits
    return digits.startswith("00"), digits.removeprefix("00")


def name_key(name: str) -> str:
    """Return the one spelling of a name or a company: composed (NFC), in lower case, with single spaces."""
    return " ".join(_folded(name).split())


def domain_key(domain: str) -> str:
    """Return the one spelling of a company's domain: without scheme, `www.`, path and the dot at its end."""
    text = re.split(r"[/?#]", _SCHEME.sub("", name_key(domain), count=1), maxsplit=1)[0]
    return _PORT.sub("", text.removeprefix("www.")).strip(".")


def person_key(search: Mapping[str, str | None]) -> str | None:
    """Return what stands for the person of a search, equal for all that are taken for the same; None for nobody.

    The address of the profile where there is one, since the API lets it prevail: `linkedin.com/in/alma`. Else name and
    company, the domain before the name of it: `alma marlow @ amber.example`. The search has `PERSON_FIELDS`, as
    `params` of a result or as a row that is to be submitted; a result may have some of `OTHER_NAMES`.
    """
    if key := profile_key(search.get("linkedin_url") or ""):
        return key
    first, last = (
        name_key(search.get(name) or search.get(other) or "")
        for name, other in (("firstname", "first_name"), ("lastname", "last_name"))
    )
    whole = next((key for other in OTHER_NAMES[2:] if (key := name_key(search.get(other) or ""))), "")
    name = f"{first} {last}" if first or last else whole
    company = domain_key(search.get("company_domain") or "") or name_key(search.get("company_name") or "")
    return f"{name} @ {company}" if company and name.strip() else None


def profile_spellings(url: str) -> frozenset[str]:
    """Return spellings of a profile's address that may have been hashed: a hash cannot be normalised any more."""
    given, key = url.strip(), profile_key(url)
    bare = given.rstrip("/")
    host = re.match(r"(?:\w+://)?[^/]*", bare)
    end = host.end() if host else 0
    cased = {bare, bare.lower(), bare[:end].lower() + bare[end:]}
    cased |= {f"{scheme}{www}{key}" for scheme in ("", "http://", "https://") for www in ("", "www.")}
    return frozenset({given} | cased | {f"{one}/" for one in cased})


def number_spellings(number: str) -> frozenset[str]:
    """Return spellings of a number that may have been hashed."""
    key = number_key(number)
    return frozenset({number.strip(), key, key[1:]})


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()
