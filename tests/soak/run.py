"""`python -m tests.soak.run COUNT URL`: the pipeline over so many batches; prints its report, and the memory it held.

The last line is JSON: millions of bytes at most, by the step of the pipeline until whose end that was.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from dlt.common.runtime.collector import NullCollector

from enrow_source.runner.pipeline import build_pipeline
from enrow_source.runner.run import run

from .batches import MAX_RESPONSE_MB, batch_id


class _Peaks(NullCollector):
    """Notes the most memory held, whenever a step of the pipeline ends."""

    def __init__(self) -> None:
        self.mb: dict[str, int] = {}

    def on_end_trace_step(self, trace: Any, step: Any, *_: object) -> None:  # noqa: ARG002 - dlt's signature
        self.mb[step.step] = _peak_mb()


def main() -> int:
    """Run; returns the exit code of the pipeline."""
    count, url = int(sys.argv[1]), sys.argv[2]
    peaks = _Peaks()
    report = run(
        (batch_id(number) for number in range(count)),
        pipeline=build_pipeline(progress=peaks),
        enrow_api_key="enrow-test-key",
        enrow_base_url=url,
        max_response_mb=MAX_RESPONSE_MB,
    )
    sys.stdout.write(f"{report}\n{json.dumps(peaks.mb)}\n")
    return report.exit_code


def _peak_mb() -> int:
    """Return millions of bytes; Linux counts them for each program that a process becomes."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(peak) * 1024 // 1_000_000


if __name__ == "__main__":
    sys.exit(main())
