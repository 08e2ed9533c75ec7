"""A model of what two submitters share: the lease, the table of submissions, and the server with what is on its way.

The submitters are the real generators of `enrow_source.submissions.protocol`; the model answers their actions. A state
is the choices that led to it, so that every interleaving can be walked by replaying one choice more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from enrow_source.api.submission import Accepted, NotAccepted, PostResult, Refused, Unclear
from enrow_source.submissions.people import Person
from enrow_source.submissions.plan import Attempts, Intake, SubmitOptions, make_plan
from enrow_source.submissions.protocol import (
    Action,
    Budget,
    CheckLease,
    CommitIntent,
    MakePlan,
    Post,
    Record,
    ReleaseLease,
    Steps,
    Submission,
    SubmissionState,
    TakeLease,
    Wait,
    steps,
)

from .rows import NOW, people

_POST_ATTEMPTS = 2

Choice = tuple[str, ...]
"""Who does what: `("a", "go")`, `("a", "killed")`, `("server", "takes", "a1")`."""


@dataclass
class Submitter:
    """One run of the real protocol."""

    name: str
    run: Steps
    action: Action | None = None
    """What it does next; None when it has ended."""
    is_killed: bool = False


@dataclass
class World:
    """What is committed, and what is on its way."""

    batch_size: int = 1
    count: int = 1
    people: list[Person] = field(default_factory=list)
    submitters: dict[str, Submitter] = field(default_factory=dict)
    holder: str = ""
    states: dict[str, SubmissionState] = field(default_factory=dict)
    searches: dict[str, list[str]] = field(default_factory=dict)
    """Keys of the people in each committed submission."""
    in_flight: dict[str, Submission] = field(default_factory=dict)
    """POSTs that have left their submitter and that the server may take at any later time, or never."""
    accepted: Counter[str] = field(default_factory=Counter)
    """How often the server has taken each person."""
    accepted_submissions: Counter[str] = field(default_factory=Counter)
    numbers: Counter[str] = field(default_factory=Counter)
    protocol: Callable[..., Steps] = steps

    def start(self, *names: str) -> None:
        """Start submitters that are given the same people."""
        self.people = people(self.count)
        for name in names:
            run = self.protocol(Budget(10_000, 40), partial(self._new_id, name), lambda: False, _POST_ATTEMPTS)
            self.submitters[name] = Submitter(name, run, next(run))

    def _new_id(self, name: str) -> str:
        self.numbers[name] += 1
        return f"{name}{self.numbers[name]}"

    def choices(self) -> Iterator[Choice]:
        """Everything that may happen next."""
        for name, submitter in self.submitters.items():
            if submitter.action is None or submitter.is_killed:
                continue
            yield name, "killed"
            match submitter.action:
                case TakeLease():
                    # Free, or taken over: because it has expired, by whatever clock, or because its holder seems dead.
                    yield name, "taken"
                    if self.holder not in ("", name):
                        yield name, "busy"
                case Post(submission):
                    if submission.submission_id not in self.in_flight:
                        yield name, "sends"
                        yield name, "no connection"
                    else:
                        yield name, "gets no answer"  # a time-out, a reset, a 500 after all
                case _:
                    yield name, "goes on"
        for submission_id in self.in_flight:
            if not self.accepted_submissions[submission_id]:
                for answer in ("201", "429", "400"):
                    yield "server", answer, submission_id
                yield "server", "takes it, and its answer is lost", submission_id

    def apply(self, choice: Choice) -> None:
        """Let one thing happen."""
        name, what, *rest = choice
        if name == "server":
            self._serve(what, rest[0])
            return
        submitter = self.submitters[name]
        if what == "killed":
            submitter.is_killed = True
            submitter.run.close()
            return
        action = submitter.action
        assert action is not None
        if what == "sends":
            assert isinstance(action, Post)
            self.in_flight[action.submission.submission_id] = action.submission
            return
        self._answer(submitter, self._result(name, action, what))

    def _result(self, name: str, action: Action, what: str) -> Any:  # noqa: C901, PLR0912 - a case for each action
        match action:
            case TakeLease():
                if what == "taken":
                    self.holder = name
                return what == "taken"
            case MakePlan():
                for submission_id, state in self.states.items():
                    if state is SubmissionState.INTENDED:
                        self.states[submission_id] = SubmissionState.UNKNOWN
                return make_plan(
                    Intake.of(self.people), self._attempts, {}, SubmitOptions(batch_size=self.batch_size), NOW
                )
            case CommitIntent(submission):
                self.states[submission.submission_id] = SubmissionState.INTENDED
                self.searches[submission.submission_id] = [person.key for person in submission.people]
            case CheckLease():
                return self.holder == name
            case Post():
                return NotAccepted(None, what) if what == "no connection" else Unclear(None, what)
            case Record(submission, outcome):
                if outcome.state is SubmissionState.ACCEPTED or self.states[submission.submission_id].is_open:
                    self.states[submission.submission_id] = outcome.state
            case ReleaseLease():
                if self.holder == name:
                    self.holder = ""
            case Wait():
                pass
        return None

    def _attempts(self, key: str) -> Attempts | None:
        attempts = Attempts()
        for submission_id, state in self.states.items():
            if key in self.searches[submission_id]:
                attempts.is_pending |= state.is_open or state is SubmissionState.ACCEPTED
        return attempts

    def _serve(self, what: str, submission_id: str) -> None:
        submission = self.in_flight[submission_id]
        if what.startswith(("201", "takes")):
            self.accepted_submissions[submission_id] += 1
            self.accepted.update(person.key for person in submission.people)
        else:
            del self.in_flight[submission_id]
        answers: dict[str, PostResult] = {
            "201": Accepted(201, f"batch-{submission_id}", 40.0 * len(submission.people)),
            "429": NotAccepted(429, "slow down"),
            "400": Refused(400, "no"),
        }
        waiting = [one for one in self.submitters.values() if one.name == submission_id[0] and not one.is_killed]
        for submitter in waiting:
            # Whoever has given up waiting gets no answer any more.
            if isinstance(submitter.action, Post) and submitter.action.submission is submission and what in answers:
                self._answer(submitter, answers[what])

    @staticmethod
    def _answer(submitter: Submitter, result: Any) -> None:
        try:
            submitter.action = submitter.run.send(result)
        except StopIteration:
            submitter.action = None

    def wrong(self) -> list[str]:
        """What must never be."""
        found = [f"{key} was accepted {times} times" for key, times in self.accepted.items() if times > 1]
        found += [
            f"{submission_id} was accepted, and is not known"
            for submission_id in self.accepted_submissions
            if submission_id not in self.states
        ]
        found += [
            f"{submission_id} was accepted, and is called {self.states[submission_id]}"
            for submission_id, times in self.accepted_submissions.items()
            if times and self.states.get(submission_id) in (SubmissionState.REFUSED, SubmissionState.CANCELLED)
        ]
        found += [
            f"{submission_id} is called accepted, and was not"
            for submission_id, state in self.states.items()
            if state is SubmissionState.ACCEPTED and not self.accepted_submissions[submission_id]
        ]
        return found

    @property
    def mark(self) -> tuple[Any, ...]:
        """What distinguishes two states: equal marks have equal futures."""
        return (
            self.holder,
            tuple(sorted(self.states.items())),
            tuple(sorted(self.in_flight)),
            tuple(sorted(self.accepted_submissions.items())),
            tuple(
                (one.name, one.is_killed, _place(one) if not one.is_killed else "") for one in self.submitters.values()
            ),
        )


def _place(submitter: Submitter) -> tuple[Any, ...]:
    """Where a generator is: its action, and what its local variables hold."""
    if submitter.action is None:
        return ("ended",)
    frames = []
    run: Any = submitter.run
    while hasattr(run, "gi_frame"):
        held = {k: v for k, v in run.gi_frame.f_locals.items() if k in ("attempt", "last", "waiting", "tries")}
        frames.append((run.gi_frame.f_lineno, repr(held)))
        run = run.gi_yieldfrom
    return (type(submitter.action).__name__, *frames)
