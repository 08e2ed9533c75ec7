"""A dozen runs of `enrow submit` that are killed; `python -m tests.chaos.submit` does 200 on each destination."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.campaign import DestinationName
from tests.chaos.forks import Forks
from tests.chaos.submit import DESTINATIONS, SubmissionCampaign, run_campaign
from tests.support.postgres import Postgres

pytest_plugins = ("tests.support.postgres",)


def test_a_dozen_kills_and_nobody_is_paid_for_twice(postgres: Postgres, tmp_path: Path) -> None:
    tallies: list[SubmissionCampaign] = []

    def campaign(destination: DestinationName) -> None:
        with ExitStack() as stack:
            forks = []
            for number in range(2):
                folder = tmp_path / f"{destination}-{number}"
                folder.mkdir()
                forks.append(stack.enter_context(Forks(folder)))
            tallies.append(run_campaign(destination, seed=1, kills=6, forks=forks, server=postgres))

    threads = [threading.Thread(target=campaign, args=(destination,)) for destination in DESTINATIONS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = [line for tally in tallies for outcome in tally.wrong for line in (*outcome.story, *outcome.wrong)]
    assert not wrong, "\n".join(wrong)
    assert sum(tally.kills.total() for tally in tallies) >= 12
