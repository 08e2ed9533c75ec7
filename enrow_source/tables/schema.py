"""The tables as they are declared: names, keys, columns, descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from ..lazy import pa
from ..settings import CREDITS_PRECISION, CREDITS_SCALE

if TYPE_CHECKING:
    from dlt.common.schema.typing import TColumnSchema

DataType = Literal["text", "bigint", "decimal", "double", "timestamp"]


@cache
def arrow_types() -> Mapping[DataType, pa.DataType]:
    """Return the Arrow type of each data type."""
    return {
        "text": pa.string(),
        "bigint": pa.int64(),
        "decimal": pa.decimal128(CREDITS_PRECISION, CREDITS_SCALE),
        "double": pa.float64(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }


_PERSONAL: Final = "x-personal-data"
"""Marks a column in the schema of the pipeline."""

PERSONAL_PARAMS: Final = frozenset(
    {"first_name", "last_name", "full_name", "fullname", "name", "email", "email_address", "phone", "phone_number"}
    | {"linkedin", "linkedin_profile", "profile_url"}
)
"""Undocumented fields of a search that name a person: clients send them, and the API sends back what it got."""


def personal_marks(columns: Iterable[str]) -> dict[str, TColumnSchema]:
    """Return the marks of the columns that hold what an undocumented field says of a person."""
    names = [name for name in columns if name.removeprefix("params__") in PERSONAL_PARAMS and name.startswith("params")]
    return {name: cast("TColumnSchema", {"name": name, _PERSONAL: True}) for name in names}


@dataclass(frozen=True, slots=True)
class Column:
    """A declared column."""

    name: str
    data_type: DataType
    description: str
    nullable: bool = True
    is_personal: bool = False
    is_json: bool = False
    layout: tuple[str, ...] = ()
    """dlt's hints for how a destination lays the rows out."""

    @property
    def arrow(self) -> pa.Field:
        """The column as a field of an Arrow table."""
        return pa.field(self.name, arrow_types()[self.data_type], nullable=self.nullable)

    @property
    def hints(self) -> TColumnSchema:
        """The column as dlt declares it."""
        hints: TColumnSchema = {
            "name": self.name,
            "data_type": self.data_type,
            "nullable": self.nullable,
            "description": self.description,
        }
        if self.data_type == "decimal":
            hints |= {"precision": CREDITS_PRECISION, "scale": CREDITS_SCALE}
        if self.is_personal:
            hints[_PERSONAL] = True  # type: ignore[typeddict-unknown-key]  # dlt keeps hints of any name that starts with x-
        for name in self.layout:
            hints[name] = True  # type: ignore[literal-required]
        return hints


@dataclass(frozen=True)
class Table:
    """A declared table; `key` names the columns that its rows are replaced by."""

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    replaces_batches: bool = False
    """Whether a batch has many rows, and is replaced as a whole."""
    layout: Mapping[str, object] = field(default_factory=dict)
    """dlt's hints for how a destination lays the rows out."""

    @cached_property
    def arrow(self) -> pa.Schema:
        """The declared columns as an Arrow schema."""
        return pa.schema([column.arrow for column in self.columns])

    @property
    def hints(self) -> dict[str, Any]:
        """The table as dlt declares it; `phone_results` is replaced a whole batch at a time, so that one can shrink."""
        return {
            "write_disposition": "merge",
            "merge_key" if self.replaces_batches else "primary_key": self.key,
            "columns": {column.name: column.hints for column in self.columns},
            "additional_table_hints": {"description": self.description, **self.layout},
        }

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the declared columns."""
        return frozenset(column.name for column in self.columns)


_BATCH_ID: Final = Column("batch_id", "text", "The API's id of the batch, `general.id`.", nullable=False)

_STATUS: Final = Column(
    "status", "text", "The API's word for the state: `ongoing`, `completed`, `failed`.", nullable=False
)

_FETCHED: Final = (
    Column("fetched_at", "timestamp", "When the API answered, UTC.", nullable=False),
    Column("_dlt_load_id", "text", "The load that brought the row; joins `_dlt_loads`.", nullable=False),
)

BATCHES: Final = Table(
    "batches",
    "One row for a batch that the API knows, as it was last seen.",
    ("batch_id",),
    (
        _BATCH_ID,
        _STATUS,
        Column("custom", "text", "What was sent with the batch, as JSON text.", is_personal=True, is_json=True),
        Column("first_seen_at", "timestamp", "When a run first knew of the batch, UTC; later fetches keep it."),
        *_FETCHED,
    ),
)

BATCH_STATS: Final = Table(
    "batch_stats",
    "One row for a batch: what the API claims, and beside it what arrived.",
    ("batch_id",),
    (
        _BATCH_ID,
        _STATUS,
        Column("requested", "bigint", "Searches in the batch."),
        Column("finished", "bigint", "Searches finished so far; the API reports it while the batch is ongoing."),
        Column("found", "bigint", "Phone numbers found, as the API claims; older pages call it `valid`."),
        Column("credits_cost", "decimal", "Credits consumed by the whole batch."),
        Column("credits_to_refund", "decimal", "Credits given back for searches without a result."),
        Column("results_received", "bigint", "Results that arrived with this answer.", nullable=False),
        Column("found_received", "bigint", "Results that arrived qualified `found`.", nullable=False),
        *_FETCHED,
    ),
)

PHONE_RESULTS: Final = Table(
    "phone_results",
    "One row for a search in a completed batch.",
    ("batch_id",),
    (
        # Snowflake's clustering key, among others.
        replace(_BATCH_ID, layout=("cluster",)),
        Column("index", "bigint", "Position of the search in the submitted array, from 0."),
        Column("qualification", "text", "`found` or `not_found`."),
        Column("number", "text", "The phone number, E.164; null when not found.", is_personal=True),
        Column("country", "text", "Country of the number, ISO 3166-1 alpha-2; null when not found."),
        Column("custom", "text", "The submitter's own reference, as JSON text.", is_personal=True, is_json=True),
        Column("params__linkedin_url", "text", "The search as submitted: profile URL.", is_personal=True),
        Column("params__firstname", "text", "The search as submitted: first name.", is_personal=True),
        Column("params__lastname", "text", "The search as submitted: last name.", is_personal=True),
        Column("params__company_domain", "text", "The search as submitted: domain of the company.", is_personal=True),
        Column("params__company_name", "text", "The search as submitted: name of the company.", is_personal=True),
        # By day; BigQuery's own hint, since a Delta table would have a part for each microsecond.
        replace(_FETCHED[0], layout=("x-bigquery-partition",)),
        _FETCHED[1],
    ),
    replaces_batches=True,
    layout={"x-bigquery-cluster-columns": ["batch_id"]},
)

PHONE_RESULTS_LEDGER: Final = Table(
    "phone_results_ledger",
    "One row for each batch that `phone_results` was loaded for, also for one without results.",
    ("batch_id",),
    (
        _BATCH_ID,
        _STATUS,
        Column("results_loaded", "bigint", "Rows of the batch in `phone_results`.", nullable=False),
        *_FETCHED,
    ),
)

BATCH_ERRORS: Final = Table(
    "batch_errors",
    "One row for a failed fetch of a batch.",
    ("batch_id", "fetched_at"),
    (
        Column("batch_id", "text", "The id that was asked for.", nullable=False),
        Column("http_status", "bigint", "Status of the answer; null where there was none."),
        Column("kind", "text", "What kind of failure it was; the values are listed under Errors.", nullable=False),
        Column("message", "text", "What was wrong and where, without values of the response.", nullable=False),
        *_FETCHED,
    ),
)

DEFERRED_BATCH_IDS: Final = Table(
    "deferred_batch_ids",
    "One row for an id that was read and not fetched, or that the API does not know: later runs fetch it unnamed.",
    ("batch_id",),
    (
        Column("batch_id", "text", "The id that was read.", nullable=False),
        Column("deferred_at", "timestamp", "When it was first left to later runs, UTC.", nullable=False),
        Column("unknown_answers", "bigint", "Fetches that the API answered with 'unknown or expired'.", nullable=False),
        Column(
            "given_up_at", "timestamp", "When it was given up: fetched only where it is named. Null while it is not."
        ),
        _FETCHED[1],
    ),
)

TABLES: Final = (BATCHES, BATCH_STATS, PHONE_RESULTS, PHONE_RESULTS_LEDGER, BATCH_ERRORS)

_SUBMISSION_ID: Final = Column(
    "submission_id", "text", "Our id of it, which `general.custom` of its batch carries.", nullable=False
)
SUBMISSIONS: Final = Table(
    "submissions",
    "One row for a batch that was submitted, or was about to be.",
    ("submission_id",),
    (
        _SUBMISSION_ID,
        Column("state", "text", "`intended`, `accepted`, `refused`, `unknown` or `cancelled`.", nullable=False),
        Column("batch_id", "text", "The API's id of the batch; null where none is known."),
        Column("searches", "bigint", "Searches in it.", nullable=False),
        Column("credits_reserved", "decimal", "Credits that were estimated for all of its searches.", nullable=False),
        Column(
            "credits_held", "decimal", "Credits that the API held when it accepted; null where it did not report them."
        ),
        Column("campaign", "text", "The campaign that it was submitted for."),
        Column("http_status", "bigint", "Status of the answer to the POST; null where there was none."),
        Column("message", "text", "The API's words, or what is known of it."),
        Column("created_at", "timestamp", "When the intent was committed, UTC.", nullable=False),
        Column("ended_at", "timestamp", "When it was known what became of it, UTC; null while it is not."),
    ),
)
SUBMITTED_SEARCHES: Final = Table(
    "submitted_searches",
    "One row for a search of a submission.",
    ("submission_id", "index"),
    (
        _SUBMISSION_ID,
        Column("index", "bigint", "Position in the submitted array, from 0; joins `phone_results`.", nullable=False),
        Column(
            "person_key",
            "text",
            "What stands for the person, equal for all spellings; a keyed hash unless `pii` is `keep`.",
            nullable=False,
            is_personal=True,
        ),
        Column("custom", "text", "The submitter's own reference of the row.", is_personal=True),
    ),
)
SUBMISSION_LEASE: Final = Table(
    "submission_lease",
    "The one row that a submitter holds while it submits.",
    (),
    (
        Column("holder", "text", "Who holds it: host, process and a number; empty for nobody.", nullable=False),
        Column("held_until", "timestamp", "When another one may take it, UTC.", nullable=False),
    ),
)

SUBMISSION_TABLES: Final = (SUBMISSIONS, SUBMITTED_SEARCHES, SUBMISSION_LEASE)
"""Under a schema of their own."""

ACCOUNT_CREDITS: Final = Table(
    "account_credits",
    "One row for a run of `enrow run`, `enrow submit` or `enrow check`: what the account had then.",
    (),
    (
        Column("checked_at", "timestamp", "When the API reported the balance, UTC.", nullable=False),
        Column("credits", "decimal", "Credits of the account; null where the API did not say."),
        Column("command", "text", "What asked: `run`, `submit`, `check`.", nullable=False),
        Column("run_id", "text", "Id of the run; joins `enrow_runs` or `submit_runs`.", nullable=False),
    ),
)

LEDGER_TABLES: Final = {
    BATCHES.name: BATCHES.name,
    BATCH_STATS.name: BATCH_STATS.name,
    PHONE_RESULTS.name: PHONE_RESULTS_LEDGER.name,
}
"""Each resource, and the table that has a row for every batch it has loaded."""

RUNS: Final = "enrow_runs"
"""The table with a row for each run, and its schema: no `refresh` of the source drops it."""
