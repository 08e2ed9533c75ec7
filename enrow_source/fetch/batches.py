"""Fetches, parses and shapes batches, many at a time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from dlt.common import logger

from ..api.client import EnrowClient, RawResponse
from ..api.parser import parse_batch
from ..errors import BatchError, InvalidResponseError
from ..lazy import pa
from ..settings import CHUNK_BATCHES, CHUNK_ROWS
from ..tables.rows import RowContext, phone_results_table
from .pool import Pool
from .results import Chunk, FetchResult, Progress
from .stop import StopCondition


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

    A run that is to stop starts no new fetches; batches that are not answered soon are left to the next run.
    `progress` is called for each result, and before the first one.

    Raises:
        RunError: No batch can be read.
    """

    def fetch(batch_id: str) -> tuple[str, RawResponse | BatchError, datetime]:
        try:
            response = client.fetch_batch(batch_id)
        except BatchError as error:
            return batch_id, _without_frames(error), datetime.now(UTC)
        return batch_id, response, response.fetched_at

    chunk, so_far, started = Chunk(context), Progress(len(batch_ids)), time.monotonic()
    if progress is not None:
        progress(so_far)
    if batch_ids:
        client.prepare()
    pool = Pool(fetch, batch_ids, client.connections, lambda: stop.reason is not None)
    for batch_id, response, at in pool.outcomes():
        # Here and not in the threads: many of them parsing at a time cost half as much again, and twice the memory.
        result = _result_of(batch_id, response, at, context, with_results=with_results)
        so_far = so_far.after(result, time.monotonic() - started)
        if progress is not None:
            progress(so_far)
        stop.record(result.error)
        chunk.add(result)
        if chunk.result_rows >= CHUNK_ROWS:
            yield chunk.take_results()
            # Or the pool keeps the most that any chunk has had.
            pa.default_memory_pool().release_unused()
        if len(chunk) >= CHUNK_BATCHES:
            yield chunk
            chunk = Chunk(context)
    if len(chunk):
        yield chunk


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
