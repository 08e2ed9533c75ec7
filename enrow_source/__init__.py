"""A dlt source and a command for Enrow's bulk phone searches: batch ids in, warehouse tables out.

`run` is the safe way to load: it recovers what a killed run left, stops on SIGTERM, and writes a row for each run.
`enrow_source` is the plain dlt source.

https://dlthub.com/docs, https://enrow.readme.io
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .api.account import Account, fetch_account
from .destination.erase import Erasure, erase
from .destination.suppressions import Subject, SubjectKind
from .errors import (
    ConfigurationError,
    EnrowError,
    InvalidApiKeyError,
    InvalidBatchIdError,
    NotAllowedError,
    OutOfCreditsError,
    RunError,
    UnknownOptionError,
)
from .fetch.results import Progress
from .ids.files import batch_ids_from_files
from .ids.query import batch_ids_from_query
from .ids.shard import Shard
from .source import enrow_source

if TYPE_CHECKING:
    from .runner.pipeline import build_pipeline
    from .runner.report import ExitCode, RunReport
    from .runner.run import run
    from .submissions.report import SubmissionReport
    from .submissions.submit import submit

__all__ = [
    "Account",
    "ConfigurationError",
    "EnrowError",
    "Erasure",
    "ExitCode",
    "InvalidApiKeyError",
    "InvalidBatchIdError",
    "NotAllowedError",
    "OutOfCreditsError",
    "Progress",
    "RunError",
    "RunReport",
    "Shard",
    "Subject",
    "SubjectKind",
    "SubmissionReport",
    "UnknownOptionError",
    "batch_ids_from_files",
    "batch_ids_from_query",
    "build_pipeline",
    "enrow_source",
    "erase",
    "fetch_account",
    "run",
    "submit",
]

_RUNNER = {"ExitCode": "report", "RunReport": "report", "build_pipeline": "pipeline", "run": "run"}
_SUBMISSIONS = {"SubmissionReport": "report", "submit": "submit"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as many types as names
    """Import the runner when it is used: who only wants the source saves its import time."""
    if name in _RUNNER:
        return getattr(import_module(f".runner.{_RUNNER[name]}", __name__), name)
    if name in _SUBMISSIONS:
        return getattr(import_module(f".submissions.{_SUBMISSIONS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
