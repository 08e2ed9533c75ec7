"""`python -m tests.fuzz --seconds 60 --seed 1`: mutated responses until time is over; exit code 1 after a failure.

`python -m tests.fuzz --seed 1 --number 4711` makes that one answer again, and shows it.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from . import inputs, trial

SLOW_S: Final = 10.0
"""An answer that takes longer holds a thread up, and is a failure too."""
_SHOWN_BYTES: Final = 2_000


@dataclass(slots=True)
class FuzzResult:
    """What became of the answers."""

    loaded: int = 0
    errors: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    """Messages of errors, without their numbers."""
    failed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    """Failures by what and where they are, with the report of the first of each."""

    @property
    def answers(self) -> int:
        """Answers that were tried."""
        return self.loaded + self.errors + self.failed


def fuzz(seed: int, seconds: float, first: int = 0, last: int | None = None) -> FuzzResult:
    """Try the answers of `seed` from number `first` on, to number `last` or until the time is over."""
    tally, until, number = FuzzResult(), time.monotonic() + seconds, first
    while time.monotonic() < until and (last is None or number <= last):
        _try(tally, seed, number)
        number += 1
    return tally


def _try(tally: FuzzResult, seed: int, number: int) -> None:
    body = inputs.answer(seed, number)
    began = time.monotonic()
    try:
        message = trial.error_of(body)
        trial.expect(time.monotonic() - began < SLOW_S, f"took more than {SLOW_S:g} s")
    except Exception as error:  # noqa: BLE001 - to find them is the point
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} at {where.name}:{where.lineno}"
        message = "".join(traceback.format_exception(error))
        again = f"python -m tests.fuzz --seed {seed} --number {number}"
        tally.failed += 1
        tally.failures.setdefault(what, f"{message}\n{body[:_SHOWN_BYTES]!r}\nagain: {again}")
    else:
        tally.loaded += message is None
        tally.errors += message is not None
        if message is not None:
            tally.messages["".join(char for char in message if not char.isdecimal())] += 1


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="default: another one each time")
    parser.add_argument("--number", type=int, help="this answer alone")
    options = parser.parse_args()
    began = time.monotonic()
    tally = fuzz(options.seed, options.seconds, options.number or 0, options.number)
    if options.number is not None:
        _say(f"{inputs.answer(options.seed, options.number)[:_SHOWN_BYTES]!r}\n{', '.join(tally.messages) or 'loaded'}")
    for what, message in tally.failures.items():
        _say(f"FAILURE: {what}\n{message}\n")
    _say(
        f"fuzz, seed {options.seed}: {tally.answers:,} answers in {time.monotonic() - began:.0f} s:"
        f" {tally.loaded:,} loaded, {tally.errors:,} are one error ({len(tally.messages)} different ones),"
        f" {tally.failed:,} failures"
    )
    return 1 if tally.failures else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
