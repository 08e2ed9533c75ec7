"""Fictional people, companies and phone numbers: the same ones for the same seed and batch id.

Web addresses are on the reserved `.example` domain. Phone numbers are in 555-0100 to 555-0199,
the range set aside for fiction, under area codes of several countries that share the prefix +1.
"""

from itertools import cycle, islice
from random import Random
from typing import Any, Literal

_AREA_CODES = {
    "US": "202 206 212 214 303 305 312 404 415 503 512 602 612 615 617 702 713 808 907",
    "CA": "204 306 403 416 506 514 604 709 902",
    "BS": "242",
    "BB": "246",
    "JM": "876",
    "TT": "868",
}
_PHONES = tuple(
    (f"+1{area_code}55501{line:02d}", country)
    for country, area_codes in _AREA_CODES.items()
    for area_code in area_codes.split()
    for line in range(100)
)

_FIRST_NAMES, _LAST_NAMES, _COMPANIES = (
    names.split()
    for names in (
        (
            "Alma Bruno Clara Dario Edith Felix Greta Hugo Ines Jonas Kira Leo Mila Nils Olga Paul "
            "Quinn Rosa Sven Tara Umar Vera Wim Xenia Yara Zeno"
        ),
        (
            "Ashgrove Brightwell Coldbrook Dunmere Eastlake Fernhill Greystone Hartwick Ironwood "
            "Juniper Kestrel Larkfield Marlow Northgate Oakenfold Pinecrest Quillby Ravensdale "
            "Silverton Thornbury Underhill Vickers Westbrook Yarrow"
        ),
        (
            "Amber Beacon Copper Delta Ember Falcon Granite Harbor Indigo Jade Keystone Lumen Meridian "
            "Nimbus Orchard Prism"
        ),
    )
)
_KINDS = ("linkedin_url", "linkedin_url", "company_domain", "company_name")


def generator(seed: int, batch_id: str, purpose: str) -> Random:
    """Return a generator that depends on these three alone, in any process."""
    return Random(f"{seed}/{batch_id}/{purpose}")


def searches(batch_id: str, count: int, seed: int = 0) -> list[dict[str, str]]:
    """Return `count` searches as a user submits them, about half by profile, half by name."""
    rng = generator(seed, batch_id, "searches")
    drawn = zip(
        rng.choices(_KINDS, k=count),
        rng.choices(_FIRST_NAMES, k=count),
        rng.choices(_LAST_NAMES, k=count),
        rng.choices(_COMPANIES, k=count),
        strict=True,
    )
    return [_search(index, *choice) for index, choice in enumerate(drawn)]


def _search(index: int, kind: str, first: str, last: str, company: str) -> dict[str, str]:
    if kind == "linkedin_url":
        slug = f"{first}-{last}-{index}".lower()
        return {"linkedin_url": f"https://www.linkedin.example/in/{slug}"}
    employer = f"{company.lower()}.example" if kind == "company_domain" else f"{company} Example Works"
    return {"firstname": first, "lastname": last, kind: employer}


def spelled(search: dict[str, Any], name_keys: Literal["first_name", "fullname"] | None) -> dict[str, Any]:
    """Return the search with its name under the keys that vendor SDKs send; None changes nothing."""
    if name_keys is None or not {"firstname", "lastname"} <= search.keys():
        return search
    first, last, rest = search["firstname"], search["lastname"], dict(search)
    del rest["firstname"], rest["lastname"]
    name = {"fullname": f"{first} {last}"} if name_keys == "fullname" else {"first_name": first, "last_name": last}
    return name | rest


def phones(batch_id: str, count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return `count` pairs of an E.164 number and its ISO 3166-1 alpha-2 country.

    The numbers are distinct within a batch of the documented size.
    """
    rng = generator(seed, batch_id, "phones")
    distinct = rng.sample(_PHONES, k=min(count, len(_PHONES)))
    return list(islice(cycle(distinct), count))
