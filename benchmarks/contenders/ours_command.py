"""As `ours`, by the command: it also finishes what a killed run left, and writes the row of `enrow_runs`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.phone_bulk import run

from .ours import build_pipeline


def main() -> None:
    """Load the batches."""
    url, ids_file = sys.argv[1:3]
    batch_ids = Path(ids_file).read_text(encoding="utf-8").split()
    run(batch_ids, pipeline=build_pipeline(), enrow_api_key="key", enrow_base_url=url)


if __name__ == "__main__":
    main()
