"""Finished batches, and each form in which the documentation contradicts itself."""

import time
from typing import Any, Literal, Unpack

import pytest

from enrow_source.testing import SimulatedEnrow, bodies
from tests.testing.calls import get


def test_completed_batch_adds_up() -> None:
    body = bodies.completed("b", results=3000, found_share=0.6, seed=7)

    results = body["results"]
    found = [result for result in results if result["qualification"] == "found"]
    missed = [result for result in results if result["qualification"] == "not_found"]
    assert list(body) == ["general", "stats", "results"]
    assert body["general"] == {"id": "b", "status": "completed"}
    assert body["stats"] == {
        "credits_cost": 40 * 1800,
        "credits_to_refund": 40 * 1200,
        "requested": 3000,
        "found": 1800,
    }
    assert (len(found), len(missed)) == (1800, 1200)
    assert [result["index"] for result in results] == list(range(3000))
    assert all(result.keys() == {"index", "qualification", "number", "country", "params"} for result in found)
    assert all(result.keys() == {"index", "qualification", "params"} for result in missed)


def test_searches_are_of_the_documented_kinds() -> None:
    kinds = {frozenset(search) for search in bodies.searches("b", 500)}

    assert kinds == {
        frozenset({"linkedin_url"}),
        frozenset({"firstname", "lastname", "company_domain"}),
        frozenset({"firstname", "lastname", "company_name"}),
    }


def test_people_and_phones_are_fictional() -> None:
    results = bodies.completed("b", results=3000, found_share=1.0)["results"]

    numbers = [result["number"] for result in results]
    assert len(set(numbers)) == 3000
    assert all(len(number) == 12 and number[0:2] == "+1" and number[5:10] == "55501" for number in numbers)
    assert {result["country"] for result in results} == {"US", "CA", "BS", "BB", "JM", "TT"}
    for params in (result["params"] for result in results):
        assert params.get("linkedin_url", "https://www.linkedin.example/in/").startswith(
            "https://www.linkedin.example/in/"
        )
        assert params.get("company_domain", ".example").endswith(".example")


@pytest.mark.parametrize("share,found", [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_found_share(share: float, found: int) -> None:
    assert bodies.completed("b", results=4, found_share=share)["stats"]["found"] == found


def test_empty_batch() -> None:
    body = bodies.completed("b", results=0)

    assert body["results"] == []
    assert body["stats"] == {"credits_cost": 0, "credits_to_refund": 0, "requested": 0, "found": 0}


def test_a_seed_and_an_id_make_this_body_everywhere() -> None:
    assert bodies.completed("b", results=3, found_share=0.5, seed=1) == {
        "general": {"id": "b", "status": "completed"},
        "stats": {"credits_cost": 80, "credits_to_refund": 40, "requested": 3, "found": 2},
        "results": [
            {
                "index": 0,
                "qualification": "not_found",
                "params": {"linkedin_url": "https://www.linkedin.example/in/nils-coldbrook-0"},
            },
            {
                "index": 1,
                "qualification": "found",
                "number": "+17025550112",
                "country": "US",
                "params": {"firstname": "Clara", "lastname": "Northgate", "company_name": "Beacon Example Works"},
            },
            {
                "index": 2,
                "qualification": "found",
                "number": "+18765550144",
                "country": "JM",
                "params": {"linkedin_url": "https://www.linkedin.example/in/hugo-silverton-2"},
            },
        ],
    }


def test_bodies_depend_on_seed_and_id_alone() -> None:
    assert bodies.completed("b", 20) == bodies.completed("b", 20)
    assert bodies.completed("b", 20)["results"] != bodies.completed("b", 20, seed=1)["results"]
    assert bodies.completed("b", 20)["results"] != bodies.completed("c", 20)["results"]


def test_the_seed_of_the_api_reaches_its_batches() -> None:
    with SimulatedEnrow(seed=5) as api:
        api.add_completed("b", results=4, found_share=0.5)
        assert get(api, "b").json() == bodies.completed("b", 4, 0.5, seed=5)


def test_the_largest_batch_is_quick_to_make() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        bodies.completed("b")
        return time.perf_counter() - start

    # The best of several, with room for a busy machine.
    assert min(seconds() for _ in range(7)) < 0.05


def test_failed_batches(api: SimulatedEnrow) -> None:
    api.add_failed("plain")
    api.add_failed("null", {"requested": 2}, "null")
    api.add_failed("empty", {}, "empty")

    assert get(api, "plain").json() == {"general": {"id": "plain", "status": "failed"}}
    assert get(api, "null").json() == {
        "general": {"id": "null", "status": "failed"},
        "stats": {"requested": 2},
        "results": None,
    }
    assert get(api, "empty").json() == {
        "general": {"id": "empty", "status": "failed"},
        "stats": {},
        "results": [],
    }


def served(api: SimulatedEnrow, **variants: Unpack[bodies.Variants]) -> dict[str, Any]:
    api.add_completed("b", results=4, found_share=0.5, **variants)
    body: dict[str, Any] = get(api, "b").json()
    return body


def test_found_under_its_older_name(api: SimulatedEnrow) -> None:
    assert served(api, found_key="valid")["stats"] == {
        "credits_cost": 80,
        "credits_to_refund": 80,
        "requested": 4,
        "valid": 2,
    }


@pytest.mark.parametrize("custom", ["spring", {"campaign": "spring"}, {}, ""])
def test_custom_as_text_or_object(api: SimulatedEnrow, custom: str | dict[str, str]) -> None:
    body = served(api, custom=custom, result_custom=custom)

    assert body["general"] == {"id": "b", "status": "completed", "custom": custom}
    assert [result["custom"] for result in body["results"]] == [custom] * 4


def test_index_as_numeric_string(api: SimulatedEnrow) -> None:
    assert [result["index"] for result in served(api, index_as_string=True)["results"]] == list("0123")


def test_no_refund(api: SimulatedEnrow) -> None:
    assert served(api, without_refund=True)["stats"] == {"credits_cost": 80, "requested": 4, "found": 2}


def test_null_when_not_found(api: SimulatedEnrow) -> None:
    results = served(api, null_when_not_found=True)["results"]

    missed = [result for result in results if result["qualification"] == "not_found"]
    assert len(missed) == 2
    assert all(result["number"] is None and result["country"] is None for result in missed)
    assert all(result["number"] for result in results if result not in missed)


def test_credits_as_object(api: SimulatedEnrow) -> None:
    stats = served(api, credits_as_object=True)["stats"]

    assert stats["credits_cost"] == {"initial": 160, "refunded": 80, "final": 80}


def test_older_plans_pay_50(api: SimulatedEnrow) -> None:
    stats = served(api, credits_per_phone=50)["stats"]

    assert (stats["credits_cost"], stats["credits_to_refund"]) == (100, 100)


def test_undocumented_fields_at_every_level(api: SimulatedEnrow) -> None:
    extra: bodies.Extra = {
        "top": {"new": "top"},
        "general": {"new": "general"},
        "stats": {"new": "stats"},
        "result": {"new": "result"},
        "params": {"new": "params"},
    }

    body = served(api, extra=extra)

    assert (body["new"], body["general"]["new"], body["stats"]["new"]) == ("top", "general", "stats")
    assert {(result["new"], result["params"]["new"]) for result in body["results"]} == {("result", "params")}


def test_contradictions_change_nothing_else(api: SimulatedEnrow) -> None:
    body = served(api, found_key="valid", custom="c", result_custom="r", extra={"params": {"new": 1}})

    for result in body["results"]:
        del result["custom"], result["params"]["new"]
    assert body["results"] == bodies.completed("b", 4, 0.5)["results"]


def test_ongoing_passes_its_options_on(api: SimulatedEnrow) -> None:
    api.add_ongoing("b", fetches=1, results=2, status=202, found_key="valid")

    first, second = get(api, "b"), get(api, "b")

    assert (first.status_code, second.status_code) == (202, 200)
    assert "valid" in second.json()["stats"]


@pytest.mark.parametrize("variants", [{"found_keys": "valid"}, {"extra": {"results": {}}}])
def test_misspelt_options_are_refused(variants: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="no such variant"):
        bodies.completed("b", 1, **variants)


def test_gross_cost(api: SimulatedEnrow) -> None:
    """Whether credits_cost is gross or net of the refund is documented nowhere; net is the default."""
    assert served(api, gross_cost=True)["stats"] == {
        "credits_cost": 160,
        "credits_to_refund": 80,
        "requested": 4,
        "found": 2,
    }
    assert served(api, gross_cost=True, credits_as_object=True)["stats"]["credits_cost"]["final"] == 80


@pytest.mark.parametrize("cost", [0.30000000000000004, "80", None, 1e300])
def test_cost_as_it_stands(api: SimulatedEnrow, cost: object) -> None:
    assert served(api, credits_cost=cost)["stats"]["credits_cost"] == cost


@pytest.mark.parametrize("status", ["Completed", "done", "COMPLETED"])
def test_other_words_for_a_status(api: SimulatedEnrow, status: str) -> None:
    assert served(api, status_text=status)["general"]["status"] == status


@pytest.mark.parametrize("name_keys,keys", [("first_name", {"first_name", "last_name"}), ("fullname", {"fullname"})])
def test_names_as_vendor_sdks_spell_them(
    api: SimulatedEnrow, name_keys: Literal["first_name", "fullname"], keys: set[str]
) -> None:
    documented = served(api)["results"]

    results = served(api, name_keys=name_keys, with_email=True)["results"]

    companies = {"company_domain", "company_name"}
    for result, plain in zip(results, documented, strict=True):
        params, was = result["params"], plain["params"]
        assert params["email"] == f"person-{result['index']}@mail.example"
        assert params.keys() - companies - {"email"} == ({"linkedin_url"} if "linkedin_url" in was else keys)
        if name_keys == "fullname" and "fullname" in params:
            assert params["fullname"] == f"{was['firstname']} {was['lastname']}"
