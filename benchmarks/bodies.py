"""The batches that the benchmark serves: every batch has other people, so that nothing packs away what real ones keep.

Numbers are of the range kept for fiction, 555-0100 to 555-0199, under all area codes; addresses are on `.example`.
"""

from __future__ import annotations

import operator
from dataclasses import astuple, dataclass
from random import Random
from typing import Final

_FOUND_OF_TEN: Final = 6
_CREDITS_PER_PHONE: Final = 40
_FIRST: Final = (
    "Ada Alma Anton Bea Bruno Carl Clara Dario Dora Edith Emil Fay Felix Gina Greta Hugo Ida Ines Jan Jonas Kira Lars"
    " Leo Lina Mara Mila Nils Nora Olga Oskar Paul Petra Quinn Rosa Rune Sara Sven Tara Theo Umar Vera Viktor Wim Xenia"
    " Yara Yusuf Zeno Zita"
)
_STARTS: Final = (
    "Ash Birch Black Bright Cold Copper East Fair Fern Glen Gold Grey Hart Hazel Iron Lark Mill North Oak Pine Quill"
    " Raven Silver Stone Thorn Under West White Wild Winter"
)
_ENDS: Final = "brook bury croft dale field ford grove ham hill lake ley mere more stead ton wall well wick wood worth"
_LAST: Final = tuple(start + end for start in _STARTS.split(" ") for end in _ENDS.split(" "))
_TRADES: Final = ("analytics", "capital", "cargo", "dental", "energy", "foods", "freight", "legal", "media", "metals")
_COUNTRIES: Final = ("US", "US", "US", "US", "US", "US", "US", "CA", "CA", "JM")
_NUMBERS: Final = [
    (f"+1{area}55501{line:02}", _COUNTRIES[area % 10]) for area in range(200, 1_000) for line in range(100)
]
_SEARCHES: Final = ("profile", "profile", "domain", "name")


@dataclass(frozen=True, slots=True)
class Totals:
    """What a competitor must have loaded before its time counts."""

    rows: int
    batches: int
    index_sum: int
    found: int
    credits_cost: int

    def __add__(self, other: Totals) -> Totals:
        """Add those of other batches."""
        return Totals(*map(operator.add, astuple(self), astuple(other)))


def expected(batches: int, results: int) -> Totals:
    """Return the totals of `batches` batches of `results` results."""
    found = sum(_is_found(index) for index in range(results))
    return Totals(
        rows=batches * results,
        batches=batches,
        index_sum=batches * results * (results - 1) // 2,
        found=batches * found,
        credits_cost=batches * found * _CREDITS_PER_PHONE,
    )


def batch_id(number: int) -> str:
    """Return the id of a batch, in the form that the API gives them."""
    return f"{number:08x}-d6a6-4ea7-b331-9b734682a76a"


def body(number: int, results: int) -> bytes:
    """Return the finished batch of that number; every second one has a reference of the submitter's in each search."""
    drawn = Random(number)  # noqa: S311 - the same people for the same number, in any process
    found = sum(_is_found(index) for index in range(results))
    phones = iter(drawn.sample(_NUMBERS, min(found, len(_NUMBERS))))
    people = zip(
        drawn.choices(_FIRST.split(), k=results),
        drawn.choices(_LAST, k=results),
        drawn.choices(_LAST, k=results),
        drawn.choices(_TRADES, k=results),
        drawn.choices(_SEARCHES, k=results),
        drawn.choices(range(1 << 28, 1 << 32), k=results),
        strict=True,
    )
    rows = []
    for index, (first, last, company, trade, kind, token) in enumerate(people):
        phone = '"qualification":"not_found"'
        if _is_found(index):
            digits, country = next(phones)
            phone = f'"qualification":"found","number":"{digits}","country":"{country}"'
        custom = f',"custom":"crm-{token % 10_000_000}"' if number % 2 else ""
        if kind == "profile":
            slug = f"{first}-{last}-{token:08x}".lower()
            search = f'"linkedin_url":"https://www.linkedin.example/in/{slug}"'
        elif kind == "domain":
            domain = f"{company.lower()}-{trade}.example"
            search = f'"firstname":"{first}","lastname":"{last}","company_domain":"{domain}"'
        else:
            employer = f"{company} {trade.title()}"
            search = f'"firstname":"{first}","lastname":"{last}","company_name":"{employer}"'
        rows.append(f'{{"index":{index},{phone}{custom},"params":{{{search}}}}}')
    stats = (
        f'"requested":{results},"found":{found},"credits_cost":{found * _CREDITS_PER_PHONE}'
        f',"credits_to_refund":{(results - found) * _CREDITS_PER_PHONE}'
    )
    general = f'"id":"{batch_id(number)}","status":"completed"'
    return f'{{"general":{{{general}}},"stats":{{{stats}}},"results":[{",".join(rows)}]}}'.encode()


def _is_found(index: int) -> bool:
    return index * 7 % 10 < _FOUND_OF_TEN
