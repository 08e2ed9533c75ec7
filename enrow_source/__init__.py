"""A dlt source for Enrow's bulk phone searches: batch ids in, warehouse tables out.

https://dlthub.com/docs, https://enrow.readme.io
"""

from .account import Account, fetch_account
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
from .source import enrow_source

__all__ = [
    "Account",
    "ConfigurationError",
    "EnrowError",
    "Erasure",
    "InvalidApiKeyError",
    "InvalidBatchIdError",
    "OutOfCreditsError",
    "RunError",
    "Subject",
    "SubjectKind",
    "UnknownOptionError",
    "enrow_source",
    "erase",
    "fetch_account",
]
