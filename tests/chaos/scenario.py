"""What the API has in one sequence: invented batches, each with the answers that it gives one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from enrow_source.testing import Response, SimulatedEnrow, bodies

Body = dict[str, Any]
_ODD_SHARE: Final = 0.3
_LONGEST: Final = 60
"""Results of a batch, at most: a run is killed as well with few rows, and takes less time."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, and the answers to the first fetch, the second, ...; the last one is given again and again."""

    batch_id: str
    kind: str
    answers: tuple[Response, ...]
    arrives: int
    """The run from which on its id is known."""


@dataclass(frozen=True, slots=True)
class Served:
    """One answer that the API gave."""

    batch_id: str
    run: int
    response: Response

    @property
    def body(self) -> Body | None:
        """What it says of the batch; None where it is an error."""
        body = self.response.body
        if self.response.status not in (200, 202) or not isinstance(body, dict):
            return None
        return body if isinstance(body.get("results"), list | None) else None

    @property
    def is_terminal(self) -> bool:
        """Whether the batch will not change any more."""
        return self.body is not None and self.body["general"]["status"] in ("completed", "failed")

    @property
    def is_retried(self) -> bool:
        """Whether the same fetch asks again."""
        return self.response.status >= 500


def invent(rng: Random, api: SimulatedEnrow, runs: int) -> list[Batch]:
    """Invent the batches of a sequence: some of each kind, and make the API answer for them."""
    kinds = [*_KINDS, *rng.choices([*_KINDS], k=rng.randint(4, 16))]
    batches = []
    for number, kind in enumerate(kinds):
        batch_id = f"{kind}-{number}"
        answers = tuple(_KINDS[kind](rng, batch_id))
        batches.append(Batch(batch_id, kind, answers, rng.choice([0, 0, *range(runs)])))
        api.respond(batch_id, *answers)
    return batches


def served(api: SimulatedEnrow, batches: Iterable[Batch], starts: list[int]) -> list[Served]:
    """Tell what the API has answered; `starts` has the number of requests before each run."""
    answers = {batch.batch_id: batch.answers for batch in batches}
    fetches: dict[str, int] = dict.fromkeys(answers, 0)
    found = []
    for number, request in enumerate(api.requests):
        if request.batch_id is None:
            continue  # a run that has ended asks for the credits
        batch_id = request.batch_id
        response = answers[batch_id][min(fetches[batch_id], len(answers[batch_id]) - 1)]
        fetches[batch_id] += 1
        if response.status != request.status:
            raise RuntimeError(f"fetch {fetches[batch_id]} of {batch_id} was answered with {request.status}")
        found.append(Served(batch_id, sum(start <= number for start in starts) - 1, response))
    return found


def _completed(rng: Random, batch_id: str) -> Response:
    body = bodies.completed(batch_id, rng.randint(1, _LONGEST))
    if rng.random() < _ODD_SHARE:
        body["general"]["custom"] = rng.choice(["spring", {"campaign": "spring", "wave": 2}])
    if rng.random() < _ODD_SHARE:
        body["results"][0]["custom"] = rng.choice(["row", {"row": 1}])
    if rng.random() < _ODD_SHARE:
        result = rng.choice(body["results"])
        level = rng.choice([body["general"], body["stats"], result, result["params"]])
        # A column that a later load may have to add.
        level[f"new_{rng.randrange(6)}"] = rng.choice(["text", 7, {"nested": [1, 2]}])
    return Response(body=body)


def _ongoing(rng: Random, batch_id: str, fetches: int) -> list[Response]:
    requested = rng.randint(1, _LONGEST)
    found = [bodies.ongoing(batch_id, requested, requested * number // fetches) for number in range(fetches)]
    return [Response(rng.choice([200, 202]), body | {"results": None}) for body in found]


def _failed(rng: Random, batch_id: str) -> Response:
    stats = rng.choice([None, {"requested": 5}])
    return Response(body=bodies.failed(batch_id, stats, rng.choice(["null", "empty"])))


def _wrong(_: Random, batch_id: str) -> Response:
    return Response(body={"general": {"id": batch_id, "status": "completed"}, "results": {"0": {}}})


_KINDS: Final[dict[str, Callable[[Random, str], Iterable[Response]]]] = {
    "completed": lambda rng, i: [_completed(rng, i)],
    "without-results": lambda _, i: [Response(body=bodies.completed(i, 0))],
    "ongoing": lambda rng, i: [*_ongoing(rng, i, rng.randint(1, 3)), _completed(rng, i)],
    "fails-later": lambda rng, i: [*_ongoing(rng, i, rng.randint(1, 2)), _failed(rng, i)],
    "endless": lambda rng, i: _ongoing(rng, i, 9),
    "failed": lambda rng, i: [_failed(rng, i)],
    "unknown": lambda *_: [Response.unreadable()],
    "refused-once": lambda rng, i: [Response.unreadable(), _completed(rng, i)],
    "wrong-once": lambda rng, i: [_wrong(rng, i), *_ongoing(rng, i, 1), _completed(rng, i)],
    "shaky": lambda rng, i: [Response.server_error(), _completed(rng, i)],
    "down": lambda rng, i: [Response.server_error(), Response.server_error(503), _completed(rng, i)],
}
"""What a batch can be; with two attempts for a fetch, `shaky` is read all the same, and `down` is an error first."""
