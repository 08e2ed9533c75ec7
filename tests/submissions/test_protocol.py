"""The protocol against a model: every interleaving of two submitters, with kills and lost answers anywhere."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from enrow_source.api.submission import Accepted, NotAccepted, PostResult, Refused, Unclear
from enrow_source.submissions.plan import Intake, SubmitOptions, make_plan
from enrow_source.submissions.protocol import (
    Action,
    Budget,
    CheckLease,
    CommitIntent,
    EndReason,
    MakePlan,
    Post,
    ProtocolResult,
    Record,
    ReleaseLease,
    Steps,
    SubmissionState,
    TakeLease,
    Wait,
    steps,
)

from .model import Choice, World
from .rows import NOW, people


def walk(protocol: Callable[..., Steps] = steps, *, count: int = 1, third: bool = True) -> tuple[int, list[str]]:
    """Walk every order of what may happen; return the number of states, and what was wrong in the first bad one.

    Depth first, each state replayed from its choices, equal states walked once. A third submitter comes when the two
    have ended: what they leave behind must hold for it, too.
    """
    seen: set[Any] = set()
    waiting: list[tuple[Choice, ...]] = [()]
    while waiting:
        path = waiting.pop()
        world = World(count=count, protocol=protocol)
        world.start("a", "b")
        for choice in path:
            world.apply(choice)
            _continue_with_third(world, third=third)
        if world.wrong():
            return len(seen), [*world.wrong(), *map(" ".join, path)]
        if world.mark in seen:
            continue
        seen.add(world.mark)
        waiting += [(*path, choice) for choice in world.choices()]
    return len(seen), []


def _continue_with_third(world: World, *, third: bool) -> None:
    is_over = all(one.is_killed or one.action is None for one in world.submitters.values())
    if third and is_over and "c" not in world.submitters:
        world.start("c")


def test_nobody_is_accepted_twice_in_any_order() -> None:
    """Two submitters with the same person, one after them: killed anywhere, answers lost, the lease taken at will."""
    states, wrong = walk()
    assert wrong == []
    assert states > 1_000


@pytest.mark.slow
def test_nobody_is_accepted_twice_with_two_batches() -> None:
    states, wrong = walk(count=2, third=False)
    assert wrong == []
    assert states > 2_000


def _without(left_out: type[Any], answer: Any) -> Callable[..., Steps]:
    """The protocol without one of its actions: as if it had gone well."""

    def changed(*arguments: Any) -> Generator[Action, Any, ProtocolResult]:
        run = steps(*arguments)
        action = next(run)
        while True:
            result = answer if isinstance(action, left_out) else (yield action)
            try:
                action = run.send(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    return changed


@pytest.mark.parametrize("left_out, answer", [(CheckLease, True), (CommitIntent, None)], ids=["check", "intent"])
def test_the_walk_finds_what_a_missing_step_does(left_out: type[Any], answer: Any) -> None:
    """A protocol that posts without the check, or without the intent, sends somebody twice, and the walk finds it."""
    try:
        _, wrong = walk(_without(left_out, answer))
    except KeyError:
        return  # an outcome was recorded for what was never committed
    assert wrong


def test_the_walk_finds_a_check_before_the_intent() -> None:
    """The order matters: a lease that was held before the intent was committed proves nothing."""

    def swapped(*arguments: Any) -> Generator[Action, Any, ProtocolResult]:
        run = steps(*arguments)
        action, held = next(run), None
        while True:
            if isinstance(action, CommitIntent):
                held = yield CheckLease()
            result = held if isinstance(action, CheckLease) and held is not None else (yield action)
            held = None if isinstance(action, CheckLease) else held
            try:
                action = run.send(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    assert walk(swapped)[1]


# One submitter alone, with what the API answers. ------------------------------------------------------------------


def drive(answers: list[PostResult], *, count: int = 3, size: int = 1, budget: Budget | None = None) -> ProtocolResult:
    """Run the protocol alone; the API gives these answers, one to each POST."""
    run, left = steps(budget or Budget(10_000, 40)), list(answers)
    result: Any = None
    waits: list[float | None] = []
    try:
        action = next(run)
        while True:
            match action:
                case TakeLease() | CheckLease():
                    result = True
                case MakePlan():
                    result = make_plan(
                        Intake.of(people(count)), lambda _: None, {}, SubmitOptions(batch_size=size), NOW
                    )
                case Post():
                    result = left.pop(0)
                case Wait(_, retry_after_s):
                    waits.append(retry_after_s)
                case Record() | CommitIntent() | ReleaseLease():
                    result = None
            action = run.send(result)
    except StopIteration as end:
        assert not left
        returned: ProtocolResult = end.value
        return returned


def _states(result: ProtocolResult) -> list[SubmissionState]:
    return [outcome.state for _, outcome in result.outcomes.values()]


ACCEPTED = Accepted(201, "batch", 40)


def test_all_accepted() -> None:
    result = drive([ACCEPTED] * 3)
    assert result.end is EndReason.DONE
    assert _states(result) == [SubmissionState.ACCEPTED] * 3


@pytest.mark.parametrize("status", [None, 201, 500, 503])
def test_unknown_stops_the_run(status: int | None) -> None:
    result = drive([ACCEPTED, Unclear(status, "nobody knows")])
    assert result.end is EndReason.UNKNOWN
    assert _states(result) == [SubmissionState.ACCEPTED, SubmissionState.UNKNOWN]


@pytest.mark.parametrize("status", [401, 402, 422])
def test_what_holds_for_all_batches_stops_the_run(status: int) -> None:
    result = drive([Refused(status, "no")])
    assert result.end is EndReason.REFUSED
    assert _states(result) == [SubmissionState.REFUSED]
    assert result.invalid == []


def test_429_and_no_connection_are_tried_again() -> None:
    result = drive([NotAccepted(429, "slow down", 7.0), NotAccepted(None, "refused"), ACCEPTED], count=1)
    assert result.end is EndReason.DONE
    assert _states(result) == [SubmissionState.ACCEPTED]


@pytest.mark.parametrize("last, state", [(429, SubmissionState.REFUSED), (None, SubmissionState.CANCELLED)])
def test_tries_have_an_end(last: int | None, state: SubmissionState) -> None:
    result = drive([NotAccepted(last, "slow down")] * 5)
    assert result.end is EndReason.UNAVAILABLE
    assert _states(result) == [state]


def test_a_400_that_names_a_search_costs_that_search() -> None:
    """The API refuses a whole batch for one search: the others are sent without it, as another submission."""
    refused = Refused(400, "Missing mandatory property on search n°2 of 3")
    result = drive([refused, Accepted(201, "batch", 80)], size=3)
    assert result.end is EndReason.DONE
    assert _states(result) == [SubmissionState.REFUSED, SubmissionState.ACCEPTED]
    assert [row.row for row in result.invalid] == [2]
    _, (accepted, _) = result.outcomes.values()
    assert [person.row for person in accepted.people] == [1, 3]


@pytest.mark.parametrize("message", ["At least 1 phone search must be present", "search n°9 of 3", "search n°2 of 50"])
def test_a_400_that_names_none_costs_the_batch(message: str) -> None:
    result = drive([Refused(400, message), ACCEPTED], count=4, size=3)
    assert _states(result) == [SubmissionState.REFUSED, SubmissionState.ACCEPTED]
    assert [row.row for row in result.invalid] == [1, 2, 3]


def test_a_higher_price_holds_from_then_on() -> None:
    """The budget is for what the API really holds: 50 a search on older plans."""
    result = drive([Accepted(201, "batch", 50)] * 2, budget=Budget(120, 40))
    assert result.end is EndReason.OVER_BUDGET
    assert len(result.outcomes) == 2
