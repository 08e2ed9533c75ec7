"""`python -m tests.chaos`: kill runs until it is enough, and tell whether the tables were right each time."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.support.postgres import Postgres

from .campaign import DESTINATIONS, CampaignResult, DestinationName, run_campaign
from .forks import Forks
from .points import Point
from .sequence import SequenceResult

_KILLS: Final = 200
_REPORT_EVERY: Final = 10


def main() -> int:
    """Run the command; returns 1 if a table was wrong, or a point was never reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first sequence; each next one has the next seed")
    parser.add_argument("--destination", choices=DESTINATIONS, help="default: all of them, side by side")
    parser.add_argument("--kills", type=int, default=_KILLS, help="at least so many for each destination")
    parser.add_argument("--sequences", type=int, help="so many sequences instead, however many kills that are")
    options = parser.parse_args()
    destinations = [options.destination] if options.destination else list(DESTINATIONS)

    with ExitStack() as stack:
        server = stack.enter_context(Postgres())
        threads = stack.enter_context(ThreadPoolExecutor(len(destinations)))
        started = [
            threads.submit(
                run_campaign,
                destination,
                seed=options.seed,
                kills=options.kills,
                sequences=options.sequences,
                forks=stack.enter_context(Forks(_folder(stack))),
                server=server,
                tell=_record_outcome,
            )
            for destination in destinations
        ]
        tallies = [campaign.result() for campaign in started]

    _print_counts(tallies)
    reached = {point.split(", in ")[0] for tally in tallies for point in tally.kills}
    left_out = [] if options.sequences else [point for point in Point if point not in reached]
    _say("", *(f"never reached: {point}" for point in left_out), *(tally.details for tally in tallies), *tallies)
    return int(bool(left_out) or any(tally.wrong for tally in tallies))


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))


def _record_outcome(destination: DestinationName, outcome: SequenceResult, tally: CampaignResult) -> None:
    if outcome.wrong:
        again = f"python -m tests.chaos --seed {outcome.seed} --destination {destination} --sequences 1"
        _say(f"WRONG, {destination}, seed {outcome.seed}: {again}")
        _say(*(f"  {line}" for line in (*outcome.story, *outcome.wrong)))
    elif tally.sequences % _REPORT_EVERY == 0:
        _say(f"{tally}, {tally.seconds:.0f} s")


def _print_counts(tallies: Sequence[CampaignResult]) -> None:
    points = sorted({point for tally in tallies for point in tally.kills})
    width = max(map(len, points), default=0)
    _say("", f"{'killed at':{width}}" + "".join(f"{tally.destination:>10}" for tally in tallies))
    for point in points:
        _say(f"{point:{width}}" + "".join(f"{tally.kills[point]:>10}" for tally in tallies))


def _say(*lines: object) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
