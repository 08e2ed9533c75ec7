"""A dlt source for Enrow's bulk phone searches: batch ids in, warehouse tables out.

https://dlthub.com/docs, https://enrow.readme.io
"""

from .account import Account, fetch_account
from .batch_ids import Shard
from .erasure import Erasure, Subject, SubjectKind, erase
from .errors import (
    ConfigurationError,
    EnrowError,
    InvalidApiKeyError,
    InvalidBatchIdError,
    OutOfCreditsError,
    RunError,
    UnknownOptionError,
)
from .id_sources import batch_ids_from_files, batch_ids_from_query
from .looks import LooksSoFar
from .source import enrow_source

__all__ = [
    "Account",
    "ConfigurationError",
    "EnrowError",
    "Erasure",
    "InvalidApiKeyError",
    "InvalidBatchIdError",
    "LooksSoFar",
    "OutOfCreditsError",
    "RunError",
    "Shard",
    "Subject",
    "SubjectKind",
    "UnknownOptionError",
    "batch_ids_from_files",
    "batch_ids_from_query",
    "enrow_source",
    "erase",
    "fetch_account",
]
