"""As `ours`, into Postgres."""

from __future__ import annotations

import sys

import dlt

from .ours import load

if __name__ == "__main__":
    load(dlt.destinations.postgres(sys.argv[3]))
