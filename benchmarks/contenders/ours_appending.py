"""As `ours`, but it appends the results instead of replacing batches: to tell what replacing costs.

It is no way to run the source: two runs that overlap would load a batch twice.
"""

from __future__ import annotations

import sys
from pathlib import Path

from enrow_source import enrow_source

from .ours import build_pipeline


def main() -> None:
    """Load the batches."""
    url, ids_file = sys.argv[1:3]
    batch_ids = Path(ids_file).read_text(encoding="utf-8").split()
    source = enrow_source(batch_ids, enrow_api_key="key", enrow_base_url=url)
    source.phone_results.apply_hints(write_disposition="append")
    build_pipeline().run(source)


if __name__ == "__main__":
    main()
