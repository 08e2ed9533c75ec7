"""A dlt source and a command for Enrow's bulk phone searches: batch ids in, warehouse tables out.

`run` is the safe way to load: it recovers what a killed run left, stops on SIGTERM, and writes a row for each run.
`enrow_source` is the plain dlt source.

https://dlthub.com/docs, https://enrow.readme.io
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from .runner.pipeline import build_pipeline
    from .runner.report import ExitCode, RunReport
    from .runner.run import run
    from .source import enrow_source
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

_MODULES = {
    "api.account": ("Account", "fetch_account"),
    "destination.erase": ("Erasure", "erase"),
    "destination.suppressions": ("Subject", "SubjectKind"),
    "errors": (
        "ConfigurationError",
        "EnrowError",
        "InvalidApiKeyError",
        "InvalidBatchIdError",
        "NotAllowedError",
        "OutOfCreditsError",
        "RunError",
        "UnknownOptionError",
    ),
    "fetch.results": ("Progress",),
    "ids.files": ("batch_ids_from_files",),
    "ids.query": ("batch_ids_from_query",),
    "ids.shard": ("Shard",),
    "runner.pipeline": ("build_pipeline",),
    "runner.report": ("ExitCode", "RunReport"),
    "runner.run": ("run",),
    "source": ("enrow_source",),
    "submissions.report": ("SubmissionReport",),
    "submissions.submit": ("submit",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as many types as names
    """Import a name when it is used: `enrow --help` needs nothing of dlt, and the source nothing of the runner."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    """Return the names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
