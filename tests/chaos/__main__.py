"""`python -m tests.chaos`: kill runs of the built wheel until it is enough, and compare the tables each time.

Between the kills there is what `themes` lists: plain `pipeline.run`, runs beside each other, restores, erasures. Delta
tables need another environment: this module starts itself in it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from tests.support import REPOSITORY

from .campaign import DESTINATIONS, CampaignResult, DestinationName, run_campaign
from .forks import Forks
from .points import Point
from .sequence import SequenceResult

_KILLS: Final = 200
_REPORT_EVERY: Final = 10
_OF_SQL_ALONE: Final = (
    Point.FOLLOWED,
    Point.MERGING,
    Point.MERGED,
    Point.UNCOMMITTED,
    Point.COMPLETING,
    Point.COMPLETED,
)
"""Points that a load of Delta tables does not pass."""


def main() -> int:
    """Run the command; returns 1 if a table was wrong, or a point was never reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first sequence; each next one has the next seed")
    parser.add_argument("--destination", choices=DESTINATIONS, help="default: all of them, side by side")
    parser.add_argument("--kills", type=int, default=_KILLS, help="at least so many for each destination")
    parser.add_argument("--sequences", type=int, help="so many sequences instead, however many kills that are")
    parser.add_argument("--package", type=Path, help="where enrow_source is (default: the wheel, unpacked)")
    options = parser.parse_args()
    destinations = [options.destination] if options.destination else list(DESTINATIONS)

    with ExitStack() as stack:
        package = options.package or _unpacked_wheel(_folder(stack))
        if len(destinations) == 1 and not (destinations == ["delta"] and not options.package):
            return _campaign(destinations[0], options, package, stack)
        threads = stack.enter_context(ThreadPoolExecutor(len(destinations)))
        codes = threads.map(partial(_elsewhere, options=options, package=package), destinations)
        return max(codes)


def _elsewhere(destination: DestinationName, options: argparse.Namespace, package: Path) -> int:
    """Run the campaign of one destination in a process of the environment that it needs."""
    python = Path(sys.executable)
    if destination == "delta":
        from tests.destinations.environments import python_of  # noqa: PLC0415 - made where it is wanted alone

        python = python_of("lake")
    arguments = [f"--destination={destination}", f"--package={package}", f"--seed={options.seed}"]
    wanted = f"--kills={options.kills}" if options.sequences is None else f"--sequences={options.sequences}"
    return subprocess.run([python, "-m", "tests.chaos", *arguments, wanted], cwd=REPOSITORY, check=False).returncode


def _campaign(destination: DestinationName, options: argparse.Namespace, package: Path, stack: ExitStack) -> int:
    server = None
    if destination == "postgres":
        from tests.support.postgres import Postgres  # noqa: PLC0415 - not every environment has the server

        server = stack.enter_context(Postgres())
    tally = run_campaign(
        destination,
        seed=options.seed,
        kills=options.kills,
        sequences=options.sequences,
        forks=(
            stack.enter_context(Forks(_folder(stack), package)),
            stack.enter_context(Forks(_folder(stack), package)),
        ),
        server=server,
        tell=_record_outcome,
    )
    reached = {point.split(", in ")[0] for point in tally.kills}
    passed = [point for point in Point if destination != "delta" or point not in _OF_SQL_ALONE]
    left_out = [] if options.sequences else [point for point in passed if point not in reached]
    counts = [f"{count:>6}  killed at {point}" for point, count in sorted(tally.kills.items())]
    _say("", *counts, *(f"never reached: {point}" for point in left_out), tally.details, tally)
    return int(bool(left_out or tally.wrong))


def _unpacked_wheel(folder: Path) -> Path:
    """Build the wheel, and unpack it: a run imports it as if it were installed."""
    from tests.support.wheel import build  # noqa: PLC0415 - not every environment can

    with zipfile.ZipFile(build(folder)) as wheel:
        wheel.extractall(folder / "wheel")
    return folder / "wheel"


def _forks(stack: ExitStack, package: Path) -> Forks:
    return stack.enter_context(Forks(_folder(stack), package))


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))


def _record_outcome(destination: DestinationName, outcome: SequenceResult, tally: CampaignResult) -> None:
    if outcome.wrong:
        again = f"python -m tests.chaos --seed {outcome.seed % 1_000_000} --destination {destination} --sequences 1"
        _say(f"WRONG, {destination}, {outcome.theme}, seed {outcome.seed}: {again}")
        _say(*(f"  {line}" for line in (*outcome.story, *outcome.wrong)))
    elif tally.sequences % _REPORT_EVERY == 0:
        _say(f"{tally}, {tally.seconds:.0f} s")


def _say(*lines: object) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
