"""A dlt source for Enrow's bulk phone searches: batch ids in, warehouse tables out.

https://dlthub.com/docs, https://enrow.readme.io
"""

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
    "ConfigurationError",
    "EnrowError",
    "InvalidApiKeyError",
    "InvalidBatchIdError",
    "OutOfCreditsError",
    "RunError",
    "UnknownOptionError",
    "enrow_source",
]
