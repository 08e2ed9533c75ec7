"""What fetches return: one by one, in chunks for dlt, and together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ..api.models import Batch, BatchStatus
from ..errors import BatchError, ErrorKind
from ..lazy import pa
from ..settings import MESSAGE_CHARS
from ..tables.results_file import ResultsFile, ResultsWriter
from ..tables.rows import DeferredId, FetchedBatch, RowContext
from .counts import RunCounts


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What one fetch of one batch returned: a batch or an error."""

    batch_id: str
    at: datetime
    batch: Batch | None = None
    """Without its results, which are in `results` and take less memory there."""
    results: pa.Table | None = None
    """Rows of `phone_results`; None where they are not wanted."""
    error: BatchError | None = None
    http_status: int | None = None
    """Of the response that the batch came with."""

    @property
    def rows(self) -> int:
        """Rows of `phone_results`, without those of erased people."""
        return self.results.num_rows if self.results is not None else 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, for whoever waits for it."""

    due: int
    """Batches that the run fetches, if it does not stop early."""
    fetched: int = 0
    ongoing: int = 0
    """Fetched batches that are still ongoing."""
    rows: int = 0
    """Rows of `phone_results`."""
    seconds: float = 0.0
    """Since the first batch was asked for."""

    @property
    def rows_per_s(self) -> float:
        """Rows a second, since the first batch was asked for."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds that the remaining batches take, if they are like those before; None before the first one."""
        return self.seconds / self.fetched * (self.due - self.fetched) if self.fetched else None

    def after(self, result: FetchResult, seconds: float) -> Progress:
        """Count one more result."""
        ongoing = result.batch is not None and not result.batch.is_terminal
        return Progress(self.due, self.fetched + 1, self.ongoing + ongoing, self.rows + result.rows, seconds)


@dataclass(slots=True)
class Chunk:
    """Results that are handed to dlt together."""

    context: RowContext
    creates_tables: bool = False
    """Whether tables are to be created, also those that get no rows."""
    batches: list[FetchedBatch] = field(default_factory=list)
    results: list[pa.Table] = field(default_factory=list)
    """Rows of `phone_results`, a table for each batch."""
    files: list[ResultsFile] = field(default_factory=list)
    """Rows of `phone_results` that are written already."""
    errors: list[tuple[str, BatchError, datetime]] = field(default_factory=list)
    result_rows: int = 0
    deferred: Sequence[DeferredId] = ()
    """Ids that later runs fetch, although no input may name them again."""
    counts: RunCounts | None = None
    """The counts of the whole run, in its last chunk."""

    def add(self, result: FetchResult) -> None:
        """Add one result."""
        if result.error is not None:
            self.errors.append((result.batch_id, result.error, result.at))
        if result.batch is not None:
            if result.batch.invalid_stats:
                message = "; ".join(result.batch.invalid_stats)[:MESSAGE_CHARS]
                error = BatchError(message, ErrorKind.INVALID_VALUE, result.http_status)
                self.errors.append((result.batch_id, error, result.at))
            self.batches.append(FetchedBatch(result.batch, result.at, result.rows))
        if result.results is not None and result.rows:
            self.results.append(result.results)
            self.result_rows += result.rows

    def take_results(self) -> Chunk:
        """Take the results out, into a chunk of their own: they are many, and the rest goes better in one piece."""
        taken = Chunk(self.context, results=self.results, result_rows=self.result_rows)
        self.results, self.result_rows = [], 0
        return taken

    def write_results(self, writer: ResultsWriter) -> None:
        """Write the results, and keep the files that this completes."""
        if self.results:
            self.files, self.results = writer.write(self.results), []

    @property
    def unreadable(self) -> int:
        """Count the batches that could not be read; others have an error beside their results."""
        return sum(error.kind is not ErrorKind.INVALID_VALUE for _, error, _ in self.errors)

    def __len__(self) -> int:
        return len(self.batches) + len(self.errors)


@dataclass(slots=True)
class Seen:
    """What a run has seen so far of its batches; grows with each chunk."""

    statuses: Counter[BatchStatus | None] = field(default_factory=Counter)
    """Batches by status; None for those that could not be read."""
    answered: set[str] = field(default_factory=set)
    """Batches that the API answered for."""
    ended: set[str] = field(default_factory=set)
    """Of these, completed or failed."""
    undocumented: dict[str, str] = field(default_factory=dict)
    """Batches with a status that is not documented, and the status."""
    requested: dict[str, int] = field(default_factory=dict)
    """Searches of each batch."""
    unknown: set[str] = field(default_factory=set)
    """Ids that the API answered with 'unknown or expired'."""
    results: int = 0
    """Rows of `phone_results`."""
    incomplete: int = 0
    """Batches that were loaded without a count or an amount of credits that was invalid."""

    @property
    def fetched(self) -> int:
        """Batches whose fetch ended in this run."""
        return self.statuses.total()

    def add(self, chunk: Chunk) -> None:
        """Count a chunk."""
        self.results += sum(fetched.results_loaded for fetched in chunk.batches)
        for batch in (fetched.batch for fetched in chunk.batches):
            self.answered.add(batch.batch_id)
            self.statuses[batch.known_status] += 1
            self.requested[batch.batch_id] = batch.stats.requested or 0
            if batch.is_terminal:
                self.ended.add(batch.batch_id)
            elif batch.known_status is BatchStatus.UNKNOWN:
                self.undocumented[batch.batch_id] = batch.status
        unanswered = sum(error.kind is ErrorKind.NOT_ANSWERED for _, error, _ in chunk.errors)
        # Who did not answer before the run stopped is left to the next run, and is no batch that cannot be read.
        self.statuses[None] += chunk.unreadable - unanswered
        self.incomplete += len(chunk.errors) - chunk.unreadable
        self.unknown |= {batch_id for batch_id, error, _ in chunk.errors if error.kind is ErrorKind.EXPIRED_OR_UNKNOWN}
