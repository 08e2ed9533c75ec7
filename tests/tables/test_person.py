"""Who is the same person, by the table of examples that erasing, submitting and the dbt models share."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrow_source.tables.person import (
    is_international,
    name_key,
    number_key,
    number_spellings,
    person_key,
    profile_key,
    profile_spellings,
)

EXAMPLES: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "support" / "same_person.json").read_text("utf-8")
)


@pytest.mark.parametrize("same", EXAMPLES["profiles"], ids=lambda same: same["key"])
def test_profiles(same: dict[str, Any]) -> None:
    assert {url: profile_key(url) for url in same["spellings"]} == dict.fromkeys(same["spellings"], same["key"])


@pytest.mark.parametrize("same", EXAMPLES["numbers"], ids=lambda same: same["key"])
def test_numbers(same: dict[str, Any]) -> None:
    assert {one: number_key(one) for one in same["spellings"]} == dict.fromkeys(same["spellings"], same["key"])
    assert all(is_international(one) for one in same["spellings"])


@pytest.mark.parametrize("same", EXAMPLES["people"], ids=lambda same: same["key"] or "nobody")
def test_people(same: dict[str, Any]) -> None:
    assert [person_key(search) for search in same["searches"]] == [same["key"]] * len(same["searches"])


@pytest.mark.parametrize(
    "names",
    [
        {"first_name": "Alma", "last_name": "MARLOW"},
        {"firstname": "", "first_name": "Alma", "lastname": "Marlow"},
        {"fullname": " Alma  Marlow "},
        {"full_name": "alma marlow"},
        {"name": "Alma Marlow", "firstname": " "},
    ],
    ids=" ".join,
)
def test_names_that_clients_send(names: dict[str, str]) -> None:
    """They mean the same as `firstname` and `lastname`."""
    assert person_key({**names, "company_domain": "amber.example"}) == "alma marlow @ amber.example"


@pytest.mark.parametrize("number", ["202 555 0123", "", "+", "+1", "tel:555", "+0012025550123", "+" + "1" * 16])
def test_number_without_its_country(number: str) -> None:
    assert not is_international(number)


def test_hashed_spellings_include_the_key() -> None:
    assert profile_key("https://www.linkedin.com/in/alma/") in profile_spellings("https://uk.linkedin.com/in/alma")
    assert "https://www.linkedin.com/in/alma/" in profile_spellings("HTTPS://linkedin.com/in/ALMA")
    assert {"+12025550123", "12025550123"} <= number_spellings("tel:+1-202-555-0123")


@given(st.text())
def test_a_key_is_its_own_key(text: str) -> None:
    """What has become a key stays what it is, so that keys of different versions of a row are equal."""
    assert name_key(name_key(text)) == name_key(text)
    assert number_key(number_key(text)) == number_key(text) or number_key(text).startswith("+00")


@given(st.from_regex(r"(https?://)?(www\.|de\.)?linkedin\.com/in/[A-Za-z0-9%_-]{1,20}/?", fullmatch=True))
def test_a_profile_key_is_short_and_plain(url: str) -> None:
    key = profile_key(url)
    assert key == key.strip("/ ").lower()
    assert not key.startswith(("http", "www.", "de."))
