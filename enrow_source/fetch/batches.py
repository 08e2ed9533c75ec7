"""Fetches, parses and shapes batches, many at a time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from dlt.common import logger

from ..api.client import EnrowClient, RawResponse
from ..api.parser import parse_batch
from ..errors import BatchError, ErrorKind, InvalidResponseError, RequestFailedError
from ..lazy import pa
from ..settings import CHUNK_BATCHES, CHUNK_ROWS, UNANSWERED_S
from ..tables.rows import RowContext, phone_results_table
from .pool import Pool
from .results import Chunk, FetchResult, Progress
from .stop import StopCondition, StopReason


def fetch_batches(  # noqa: PLR0913 - what a run is made of
    batch_ids: Sequence[str],
    client: EnrowClient,
    context: RowContext,
    *,
    with_results: bool,
    stop: StopCondition,
    progress: Callable[[Progress], None] | None,
) -> Iterator[Chunk]:
    """Fetch each batch once, many at a time, and yield the results in chunks as they come in.

    A run that is to stop starts no new fetches. Batches that are not answered then become errors, after a deadline or
    a long wait, so that later runs fetch them after the others. `progress` is called for each result, and before the
    first one. Raises RunError where no batch can be read.
    """

    def fetch(batch_id: str) -> tuple[str, RawResponse | BatchError, datetime]:
        try:
            response = client.fetch_batch(batch_id)
        except BatchError as error:
            return batch_id, _without_frames(error), datetime.now(UTC)
        return batch_id, response, response.fetched_at

    chunk, so_far, started = Chunk(context), Progress(len(batch_ids)), time.monotonic()
    report = progress or (lambda _: None)
    report(so_far)
    if batch_ids:
        client.prepare()
    pool = Pool(fetch, batch_ids, client.connections, lambda: stop.reason is not None)
    for batch_id, response, at in pool.outcomes():
        # Here and not in the threads: many of them parsing at a time cost half as much again, and twice the memory.
        result = _result_of(batch_id, response, at, context, with_results=with_results)
        so_far = so_far.after(result, time.monotonic() - started)
        report(so_far)
        stop.record(batch_id, result.error)
        chunk.add(result)
        if chunk.result_rows >= CHUNK_ROWS:
            yield chunk.take_results()
            # Or the pool keeps the most that any chunk has had.
            pa.default_memory_pool().release_unused()
        if len(chunk) >= CHUNK_BATCHES:
            yield chunk
            chunk = Chunk(context)
    for result in _unanswered(pool.unfinished(), stop.reason):
        chunk.add(result)
    if len(chunk):
        yield chunk


def _unanswered(unfinished: Iterable[tuple[str, float]], reason: StopReason | None) -> Iterator[FetchResult]:
    """Make errors of the batches that did not answer; `unfinished` has the seconds that each was waited for."""
    # Who stops a run says nothing of ids that were asked for a moment ago.
    least_s = 0.0 if reason is StopReason.DEADLINE else UNANSWERED_S
    for batch_id, seconds in unfinished:
        if seconds >= least_s:
            message = f"no answer within {seconds:.1f} s, when the run stopped"
            yield FetchResult(batch_id, datetime.now(UTC), error=RequestFailedError(message, ErrorKind.NOT_ANSWERED))


def _result_of(
    batch_id: str, response: RawResponse | BatchError, at: datetime, context: RowContext, *, with_results: bool
) -> FetchResult:
    if isinstance(response, BatchError):
        return FetchResult(batch_id, at, error=response)
    try:
        batch = parse_batch(batch_id, response.body)
    except InvalidResponseError as error:
        error.http_status = response.http_status
        return FetchResult(batch_id, at, error=_without_frames(error))
    if batch.results.count and not batch.is_completed:
        logger.warning(f"{batch.results.count} results of {batch_id!r:.80} are not loaded: it is {batch.status!r:.40}")
    results = phone_results_table(batch, at, context) if with_results else None
    if batch.invalid_stats:
        logger.warning(f"values of {batch_id!r:.80} are left out: {'; '.join(batch.invalid_stats)}")
    kept = dataclasses.replace(batch, results=batch.results.without_rows())
    return FetchResult(batch_id, at, kept, results, http_status=response.http_status)


def _without_frames(error: BatchError) -> BatchError:
    """Drop the frames that the error came through: they would keep its whole response in memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
