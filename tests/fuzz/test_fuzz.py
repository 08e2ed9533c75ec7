"""Random bytes in the place of a response."""

import time

from tests.fuzz.__main__ import fuzz


def test_any_bytes_are_rows_or_one_error() -> None:
    seed = time.time_ns()
    tally = fuzz(seed, seconds=2)
    assert not tally.failures, "\n".join(tally.failures.values())
    assert tally.loaded
    assert tally.errors
