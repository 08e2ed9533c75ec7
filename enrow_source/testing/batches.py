"""The batches that the simulated API knows, and the answer to each fetch of one."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any, Literal, TypeAlias, Unpack

from . import bodies
from .bodies import FOUND_SHARE, MAX_RESULTS, Variants
from .responses import Response, encoded

Answer: TypeAlias = Response | dict[str, Any] | list[Any] | bytes
"""A response; or JSON or bytes, which stand for a 200 with that body."""
Script: TypeAlias = Answer | Callable[[int], Answer]
"""An answer, or a function that makes one from the number of the fetch, from 0."""


@dataclass
class _Batch:
    script: tuple[Script, ...]
    taken: int = 0


class Batches:
    """Batches by id. Adding an id again replaces it and starts its answers over.

    unknown: the response for an id that is not known, or no more.

    Every `add_...` returns the batch id. All methods may be called from any thread, before and
    while the server runs.
    """

    def __init__(self, *, seed: int, unknown_id_status: Literal[400, 404]) -> None:
        """Start without batches; `seed` decides all that is invented."""
        self.seed = seed
        self.unknown = Response.not_found() if unknown_id_status == 404 else Response.unreadable()  # noqa: PLR2004 - an HTTP status
        self._batches: dict[str, _Batch] = {}
        self._fetches: Counter[str] = Counter()
        self._lock = RLock()

    def respond(self, batch_id: str, *responses: Script) -> str:
        """Answer each fetch with the next of these responses, and with the last one thereafter."""
        if not responses:
            raise ValueError("at least one response is needed")
        with self._lock:
            self._batches[batch_id] = _Batch(responses)
        return batch_id

    def add_completed(
        self,
        batch_id: str,
        results: int = MAX_RESULTS,
        found_share: float = FOUND_SHARE,
        **options: Unpack[Variants],
    ) -> str:
        """Add a finished batch; the options are those of `bodies.Variants`."""
        body = bodies.completed(batch_id, results, found_share, self.seed, **options)
        return self.respond(batch_id, encoded(body))

    def add_documented(self) -> str:
        """Add the finished batch that the documentation shows."""
        return self.respond(bodies.DOCUMENTED_ID, bodies.documented())

    def add_ongoing(
        self,
        batch_id: str,
        fetches: int | None = 2,
        results: int = MAX_RESULTS,
        *,
        status: Literal[200, 202] = 200,
        **options: Unpack[Variants],
    ) -> str:
        """Add a batch in progress for the first `fetches` fetches, or forever if None, then finished.

        status: of the responses in progress; older pages say 202.
        """
        if fetches is None:
            return self.respond(batch_id, Response(status, bodies.ongoing(batch_id, results, 0)))
        body = bodies.completed(batch_id, results, seed=self.seed, **options)
        # From nothing finished to nearly all.
        finished = [results * fetch // fetches for fetch in range(fetches)]
        first = [Response(status, bodies.ongoing(batch_id, results, count)) for count in finished]
        return self.respond(batch_id, *first, encoded(body))

    def add_failed(
        self,
        batch_id: str,
        stats: Mapping[str, object] | None = None,
        results: Literal["absent", "null", "empty"] = "absent",
    ) -> str:
        """Add a failed batch, with the parts that `bodies.failed` offers."""
        return self.respond(batch_id, bodies.failed(batch_id, stats, results))

    def add_expiring(
        self, batch_id: str, fetches: int = 1, results: int = MAX_RESULTS, **options: Unpack[Variants]
    ) -> str:
        """Add a finished batch that can be read `fetches` times and is then answered as an unknown one.

        The status-codes page says that an expired id answers 400, 'Could not retrieve bulk search results'.
        """
        body = encoded(bodies.completed(batch_id, results, seed=self.seed, **options))
        return self.respond(batch_id, *[body] * fetches, self.unknown)

    def expire(self, batch_id: str) -> None:
        """Answer for this batch as for an unknown one from now on."""
        self.respond(batch_id, self.unknown)

    def fetches(self, batch_id: str) -> int:
        """Return how many GETs with a good key asked for this batch, known or not."""
        with self._lock:
            return self._fetches[batch_id]

    def fetch(self, batch_id: str) -> Response:
        """Count one fetch of the batch and return its answer."""
        with self._lock:
            self._fetches[batch_id] += 1
            batch = self._batches.get(batch_id)
            if batch is None:
                return self.unknown
            number = batch.taken
            batch.taken += 1
        # Outside the lock: a function may well ask or change the batches itself.
        answer = batch.script[min(number, len(batch.script) - 1)]
        if callable(answer):
            answer = answer(number)
        return answer if isinstance(answer, Response) else Response(body=answer)
