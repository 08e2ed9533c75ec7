"""Submitting against the simulated API, over real sockets, into a DuckDB file and a real Postgres."""

from __future__ import annotations

from typing import Any

import dlt
import pytest

from enrow_source import ConfigurationError, InvalidApiKeyError, Subject, SubjectKind, erase
from enrow_source.submissions.plan import LeftOut
from enrow_source.submissions.protocol import EndReason
from enrow_source.submissions.resolve import list_submissions, resolve_submission
from enrow_source.testing import AccountRules, Response, SimulatedEnrow, people_accepted_twice

from .conftest import Place
from .rows import EXAMPLES, row

pytest_plugins = ("tests.support.postgres",)


# Where Postgres runs the same code of ours, it is left to `make test-all`.
other_slow = pytest.mark.parametrize(
    "place", ["duckdb", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True
)


def rows(count: int, first: int = 1) -> list[dict[str, str]]:
    return [row(number) for number in range(first, first + count)]


def test_people_become_batches_and_numbers(place: Place) -> None:
    """The whole loop, on a new dataset: submit, run without naming an id, submit again."""
    report = place.submit([*rows(5), {"firstname": "Alma"}], batch_size=3, campaign="spring", custom={"owner": "sales"})
    assert (report.searches, report.batches, report.searches_accepted, report.credits_held) == (5, 2, 5, 200)
    assert (report.balance_before, report.balance_after) == (8_500, 8_300)
    assert report.exit_code == 3
    (invalid,) = report.invalid
    assert str(invalid) == (
        "row 6: lastname and company_domain or company_name missing: it needs linkedin_url, or firstname, lastname and"
        " company_domain or company_name"
    )
    first, second = place.api.accepted
    assert first.custom == {
        "owner": "sales",
        "submission": place.sql("SELECT submission_id FROM {submissions} WHERE searches = 3")[0][0],
        "campaign": "spring",
    }
    assert first.searches[0] == {"linkedin_url": "https://www.linkedin.com/in/person-1", "custom": "lead-1"}
    columns = "state, batch_id, searches, credits_reserved, credits_held, campaign, http_status, message"
    assert place.sql(f"SELECT {columns} FROM {{submissions}} ORDER BY created_at") == [
        ("accepted", first.batch_id, 3, 120, 120, "spring", 201, None),
        ("accepted", second.batch_id, 2, 80, 80, "spring", 201, None),
    ]
    assert place.sql('SELECT "index", person_key, custom FROM {submitted_searches} ORDER BY person_key') == [
        (number % 3, f"linkedin.com/in/person-{number + 1}", f"lead-{number + 1}") for number in range(5)
    ]
    assert place.submit(rows(5)).left_out == {LeftOut.IN_SUBMISSION: 5}

    place.wipe()
    place.api.finish()
    place.load()
    found = place.sql("SELECT count(*) FROM {phone_results} WHERE qualification = 'found'")[0][0]
    assert place.sql("SELECT count(*) FROM {phone_results}") == [(5,)]
    report = place.submit(rows(6))
    assert report.left_out == {LeftOut.FOUND: found, LeftOut.NOT_FOUND: 5 - found}
    assert report.searches_accepted == 1
    assert not people_accepted_twice(place.api.accepted)


def test_a_dry_run_sends_and_writes_nothing(place: Place) -> None:
    report = place.submit(rows(4), None, dry_run=True, batch_size=3)
    assert (report.searches, report.batches, report.credits_held_max, report.credits_expected) == (4, 2, 160, None)
    assert (report.balance_before, report.balance_after, report.exit_code) == (8_500, 8_340, 0)
    assert [request.method for request in place.api.requests] == ["GET"]
    assert place.tables() == set()
    assert "nothing was sent and nothing was written" in str(report)


def test_credits_expected_follow_the_share_found(duck: Place) -> None:
    """For each kind of search its own share: 60 % of the profiles were found, and nothing is known of names."""
    duck.load(duck.api.add_completed("earlier", 100, 0.6))
    shares = duck.sql(
        "SELECT params__linkedin_url IS NULL, avg(CASE WHEN qualification = 'found' THEN 1.0 ELSE 0.0 END)"
        " FROM {phone_results} GROUP BY 1"
    )
    by_name, by_profile = (next(share for is_name, share in shares if is_name is wanted) for wanted in (True, False))
    names = [{"firstname": "Alma", "lastname": f"Marlow {n}", "company_name": "Amber Works"} for n in range(3)]
    report = duck.submit([*rows(10), *names], dry_run=True)
    assert report.credits_expected == pytest.approx(40 * (10 * by_profile + 3 * by_name))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_credits": 199}, "5 searches hold 200 credits, and max_credits is 199"),
        ({"max_credits": 100_000, "credits_per_found": 2_000}, "hold 10,000 credits, and the account has 8,500"),
        ({"max_credits": None}, "max_credits is missing"),
        ({"batch_size": 3_001}, "batch_size is 3001: set it to 3000 or less"),
        ({"limit": 0}, "limit is 0: set it to 1 or more"),
        ({"custom": {"submission": "x"}}, "custom has the key submission"),
        ({"webhook": "http://hooks.example/enrow"}, "webhook is no https URL"),
        ({"campaign": " "}, "campaign is empty"),
    ],
)
def test_nothing_is_sent_that_was_not_allowed(duck: Place, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        duck.submit(rows(5), **options)
    assert not any(request.method == "POST" for request in duck.api.requests)


def test_limit_is_a_sample(duck: Place) -> None:
    report = duck.submit(rows(5), limit=2)
    assert (report.searches_accepted, report.left_out, report.exit_code) == (2, {LeftOut.BEYOND_LIMIT: 3}, 0)


UNKNOWN = [
    "accept-then-drop",
    "accept-then-500",
    "accept-empty",
    "refuse-then-drop",
    *(
        pytest.param(fault, marks=pytest.mark.slow)
        for fault in (
            "accept-then-reset",
            "accept-then-502",
            "accept-then-503",
            "accept-unreadable",
            "accept-without-id",
            "accept-truncated",
            "refuse-500",
            "refuse-503",
        )
    ),
]


@pytest.mark.parametrize("fault", UNKNOWN)
def test_unknown_submissions_are_never_sent_again(duck: Place, fault: str) -> None:
    duck.api.fault_posts(fault)
    report = duck.submit(rows(4), batch_size=2)
    assert (report.end, report.exit_code, duck.states()) == (EndReason.UNKNOWN, 7, ["unknown"])
    again = duck.submit(rows(4), batch_size=2)
    assert again.left_out == {LeftOut.IN_SUBMISSION: 2}
    assert (again.exit_code, duck.states()) == (7, ["unknown", "accepted"])
    assert not people_accepted_twice(duck.api.accepted)


def test_a_slow_answer_is_unknown(duck: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "0.3")
    duck.api.fault_posts("accept-slowly:2")
    assert duck.submit(rows(1)).exit_code == 7
    assert len(duck.api.accepted) == 1


@pytest.mark.parametrize("fault", ["accept-then-drop", pytest.param("accept-empty", marks=pytest.mark.slow)])
def test_the_batch_resolves_an_unknown_submission(duck: Place, fault: str) -> None:
    """The webhook event names the batch; what the GET gives back names the submission, however it became unknown."""
    duck.api.fault_posts(fault)
    duck.submit(rows(2))
    (batch,) = duck.api.accepted
    duck.api.finish()
    duck.load(batch.batch_id)
    assert duck.sql("SELECT state, batch_id FROM {submissions}") == [("accepted", batch.batch_id)]
    assert duck.submit(rows(2)).exit_code == 0


def test_evidence_is_read_before_it_is_hashed(duck: Place) -> None:
    duck.api.fault_posts("accept-then-drop")
    duck.submit(rows(2))
    duck.api.finish()
    duck.load(duck.api.accepted[0].batch_id, pii="drop")
    assert duck.states() == ["accepted"]


@pytest.mark.parametrize(
    "fault, words, code",
    [
        pytest.param("refuse-401", "This apikey is not valid", 1, marks=pytest.mark.slow),
        ("refuse-not-allowed", "This account is not allowed to use the phone search feature", 1),
        pytest.param("refuse-402", "Not enough credits", 1, marks=pytest.mark.slow),
        ("refuse-402-reason", "Insufficient credits", 1),
        pytest.param("refuse-422", "Insufficient balance", 1, marks=pytest.mark.slow),
        (Response.message(400, "no"), "no", 3),
    ],
)
def test_what_the_api_refuses_is_free_again(duck: Place, fault: Any, words: str, code: int) -> None:
    duck.api.fault_posts(fault)
    report = duck.submit(rows(2))
    assert (report.exit_code, report.submissions[0].state, report.submissions[0].message) == (code, "refused", words)
    assert duck.submit(rows(2)).searches_accepted == 2


def test_one_bad_row_does_not_cost_the_batch(duck: Place) -> None:
    duck.api.fault_posts("refuse-search:2")
    report = duck.submit(rows(3))
    assert (report.searches_accepted, report.exit_code, [one.row for one in report.invalid]) == (2, 3, [2])
    assert duck.states() == ["refused", "accepted"]


def test_429_and_no_connection_are_tried_again(duck: Place) -> None:
    duck.api.fault_posts("refuse-429:0", "refuse-429:0")
    assert duck.submit(rows(1)).exit_code == 0
    assert duck.states() == ["accepted"]


def test_a_refused_key_is_told_before_anything_is_sent(duck: Place) -> None:
    with pytest.raises(InvalidApiKeyError):
        duck.submit(rows(1), enrow_api_key="another-key")
    assert duck.states() == []


def test_an_older_plan_holds_more(api: SimulatedEnrow, duck: Place) -> None:
    """The price that the API holds counts against the budget from then on."""
    api.rules = AccountRules(credits_per_phone=50)
    report = duck.submit(rows(4), 170, batch_size=1)
    assert (report.end, report.credits_held, report.exit_code) == (EndReason.OVER_BUDGET, 150, 3)


@other_slow
@pytest.mark.parametrize("batch_id", [None, "batch-1"])
def test_a_person_resolves_what_is_unknown(place: Place, batch_id: str | None) -> None:
    place.api.fault_posts("refuse-then-drop")
    place.submit(rows(1))
    (known,) = list_submissions(place.pipeline("listing"))
    resolved = resolve_submission(place.pipeline("listing"), known.submission_id, batch_id=batch_id)
    assert (resolved.state, resolved.batch_id) == ("accepted" if batch_id else "refused", batch_id)
    with pytest.raises(ConfigurationError, match="there is nothing to resolve"):
        resolve_submission(place.pipeline("listing"), known.submission_id)
    assert place.submit(rows(1)).left_out == ({LeftOut.IN_SUBMISSION: 1} if batch_id else {})


@other_slow
def test_a_wrong_batch_is_corrected_by_hand(place: Place) -> None:
    """What a person has named is no more than a word; the API's own answer is not overruled."""
    place.api.fault_posts("refuse-then-drop")
    place.submit(rows(1))
    (known,) = list_submissions(place.pipeline("listing"))
    for batch_id in ("typed-wrongly", "right"):
        resolved = resolve_submission(place.pipeline("listing"), known.submission_id, batch_id=batch_id)
        assert (resolved.state, resolved.batch_id) == ("accepted", batch_id)
    with pytest.raises(ConfigurationError, match="is accepted, batch right: there is nothing to resolve"):
        resolve_submission(place.pipeline("listing"), known.submission_id, batch_id="right")
    with pytest.raises(ConfigurationError, match="is accepted, batch right: there is nothing to resolve"):
        resolve_submission(place.pipeline("listing"), known.submission_id)


def test_a_submission_that_does_not_exist(duck: Place) -> None:
    with pytest.raises(ConfigurationError, match="there is no submission 'x' in this dataset: none is unknown"):
        resolve_submission(duck.pipeline(), "x")


def test_files_are_refused(duck: Place) -> None:
    """A lake has no row that one conditional UPDATE takes."""
    lake = dlt.pipeline("lake", destination=dlt.destinations.filesystem(str(duck.folder)), dataset_name="lake")
    duck.destination = lake.destination
    with pytest.raises(ConfigurationError, match="people cannot be submitted with filesystem: at most once needs"):
        duck.submit(rows(1))


@pytest.mark.parametrize("pii", ["hash", pytest.param("drop", marks=pytest.mark.slow)])
def test_personal_data_is_never_written_in_clear(duck: Place, monkeypatch: pytest.MonkeyPatch, pii: str) -> None:
    monkeypatch.setenv("SOURCES__ENROW__PII", pii)
    with pytest.raises(ConfigurationError, match="pii_secret"):
        duck.submit(rows(1))
    monkeypatch.setenv("SOURCES__ENROW__PII_SECRET", "a long enough secret")
    duck.submit(rows(3))
    stored = duck.sql("SELECT person_key, custom FROM {submitted_searches}")
    assert all(len(key) == 64 and (custom is None or len(custom) == 64) for key, custom in stored)
    assert duck.submit(rows(3)).left_out == {LeftOut.IN_SUBMISSION: 3}
    duck.api.finish()
    duck.load()
    report = duck.submit(rows(4))
    assert sum(report.left_out.values()) == 3
    assert report.searches_accepted == 1


def test_hashed_results_of_others_are_known(duck: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that was submitted elsewhere: its rows tell by their hashes."""
    monkeypatch.setenv("SOURCES__ENROW__PII", "hash")
    monkeypatch.setenv("SOURCES__ENROW__PII_SECRET", "a long enough secret")
    duck.load(duck.api.respond("other", _others()))
    given = [row(1) | {"linkedin_url": "https://www.linkedin.com/in/person-1/"}, _named("ALMA") | {"firstname": "Alma"}]
    assert duck.submit(given, dry_run=True).left_out == {LeftOut.FOUND: 2}


def _named(first: str) -> dict[str, str]:
    return {"firstname": first, "lastname": "Marlow", "company_name": "Amber Works"}


def _others() -> dict[str, Any]:
    searches = [{"linkedin_url": "https://www.linkedin.com/in/person-1"}, _named("Alma")]
    results = [
        {"index": n, "qualification": "found", "number": f"+1202555010{n}", "country": "US", "params": params}
        for n, params in enumerate(searches)
    ]
    stats = {"credits_cost": 80, "credits_to_refund": 0, "requested": 2, "found": 2}
    return {"general": {"id": "other", "status": "completed"}, "stats": stats, "results": results}


def _erase(place: Place, kind: SubjectKind, value: str) -> dict[str, int]:
    erased = erase(place.pipeline("erasing"), Subject(kind, value), execute=True, pii_secret="a long enough secret")
    return erased.rows


@other_slow
def test_who_was_erased_is_never_sent_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they were erased by, and however they are spelled."""
    monkeypatch.setenv("SOURCES__ENROW__PII_SECRET", "a long enough secret")
    place.api.rules = AccountRules(found_share=1.0)
    place.submit(rows(3))
    place.api.finish()
    place.load()
    ((number,),) = place.sql("SELECT number FROM {phone_results} WHERE params__linkedin_url LIKE '%person-2'")
    for kind, value in (
        (SubjectKind.LINKEDIN_URL, "HTTPS://de.linkedin.com/in/Person%2D1/?a=b"),
        (SubjectKind.NUMBER, f"tel:{number};ext=7"),
    ):
        erased = _erase(place, kind, value)
        assert (erased["phone_results"], erased["submitted_searches"]) == (1, 1), kind
    assert place.sql("SELECT person_key FROM {submitted_searches}") == [("linkedin.com/in/person-3",)]
    report = place.submit([{"linkedin_url": "linkedin.com/in/PERSON-1/"}, row(2), row(4)])
    assert report.left_out == {LeftOut.ERASED: 2}
    assert report.searches_accepted == 1


def test_erasure_finds_every_spelling(duck: Place) -> None:
    """The table of examples that submitting and the dbt models are tested with, too."""
    spellings = [spelling for same in EXAMPLES["profiles"] for spelling in same["spellings"]]
    results = [
        {"index": n, "qualification": "not_found", "params": {"linkedin_url": spelling}}
        for n, spelling in enumerate(spellings)
    ]
    stats = {"requested": len(results), "found": 0, "credits_cost": 0, "credits_to_refund": 0}
    duck.load(
        duck.api.respond("b", {"general": {"id": "b", "status": "completed"}, "stats": stats, "results": results})
    )
    for same in EXAMPLES["profiles"]:
        subject = Subject(SubjectKind.LINKEDIN_URL, same["spellings"][-1])
        erased = erase(duck.pipeline("erasing"), subject, pii_secret="a long enough secret")
        assert erased.rows["phone_results"] == len(same["spellings"]), same["key"]


def test_a_batch_is_that_of_one_submission(duck: Place) -> None:
    """Or the batch that the other one became would never be loaded."""
    duck.api.fault_posts("accept-then-drop", None)
    duck.submit([row(1)])
    duck.submit([row(2)])
    unknown, accepted = list_submissions(duck.pipeline())
    with pytest.raises(ConfigurationError, match=f"is that of submission {accepted.submission_id}"):
        resolve_submission(duck.pipeline(), unknown.submission_id, batch_id=accepted.batch_id)
    assert duck.states() == ["unknown", "accepted"]


def test_the_batch_overrules_a_person(duck: Place) -> None:
    """Two unknown submissions are resolved the wrong way round; the batches themselves put it right."""
    duck.api.fault_posts("accept-then-drop", "accept-then-drop")
    for number in (1, 2):
        duck.submit([row(number)])
    first, second = list_submissions(duck.pipeline())
    right = {each.custom["submission"]: each.batch_id for each in duck.api.accepted if isinstance(each.custom, dict)}
    resolve_submission(duck.pipeline(), first.submission_id, batch_id=right[second.submission_id])
    duck.api.finish()
    duck.load()
    states = {one.submission_id: (one.state, one.batch_id) for one in list_submissions(duck.pipeline())}
    assert states[first.submission_id] == ("unknown", None)
    assert states[second.submission_id] == ("accepted", right[second.submission_id])
    resolve_submission(duck.pipeline(), first.submission_id, batch_id=right[first.submission_id])
    duck.load()
    assert {one.submission_id: one.batch_id for one in list_submissions(duck.pipeline())} == right


@pytest.mark.slow
def test_accepted_batch_that_nobody_knows_is_given_up(duck: Place) -> None:
    """An accepted batch that the API answers 400 for is asked for so often, then only where it is named."""
    duck.submit([row(1)])
    (batch_id,) = [batch.batch_id for batch in duck.api.accepted]
    duck.api.respond(batch_id, Response.unreadable())
    limits: dict[str, Any] = {"give_up_fetches": 2, "give_up_days": 1e-6}
    for asked in (1, 2, 2):
        duck.load(**limits)
        assert duck.api.fetches(batch_id) == asked
    assert duck.sql("SELECT batch_id FROM {deferred_batch_ids} WHERE given_up_at IS NOT NULL") == [(batch_id,)]
    duck.load(batch_id, **limits)
    assert duck.api.fetches(batch_id) == 3
    assert duck.states() == ["accepted"]
