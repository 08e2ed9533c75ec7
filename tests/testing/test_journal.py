"""The journal, and a server in another process that is killed."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from enrow_source.testing import AccountRules, SimulatedEnrow, add_arguments, read_journal
from enrow_source.testing import serve as serve_command
from tests.support import REPOSITORY
from tests.testing.calls import balance, get, post

PAYLOAD: dict[str, Any] = {
    "searches": [{"linkedin_url": "https://www.linkedin.example/in/ä"}] * 5,
    "custom": {"submission": "s"},
}


def test_journal_holds_what_the_api_holds(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with SimulatedEnrow(journal=journal) as api:
        assert read_journal(journal).accepted == ()
        api.fault_posts(None, "accept-then-500", "refuse-503")
        for _ in range(3):
            post(api, PAYLOAD)
        api.finish(api.accepted[0].batch_id)
        post(api, {})

        state = read_journal(journal)

        assert (list(state.accepted), state.posts) == (api.accepted, 4)
        assert [batch.status for batch in state.accepted] == ["completed", "ongoing"]


def test_a_new_server_goes_on_from_the_journal(tmp_path: Path) -> None:
    """The balance, the batches, the events and the numbers of POSTs are those of the first one."""
    journal = tmp_path / "journal.jsonl"
    with SimulatedEnrow(journal=journal) as api:
        ids = [post(api, PAYLOAD).json()["id"] for _ in range(3)]
        api.finish(ids[2])
        api.finish(ids[0])
        before = (api.accepted, api.credits, api.events("balance"))
        results = get(api, ids[0]).json()

    with SimulatedEnrow(journal=journal) as again:
        assert (again.accepted, again.credits, again.events("balance")) == before
        assert get(again, ids[0]).json() == results
        assert get(again, ids[1]).json()["general"]["status"] == "ongoing"
        assert post(again, PAYLOAD).json()["id"] not in ids
        assert again.accepted[-1].post == 3


def test_an_unfinished_entry_is_cut_off(tmp_path: Path) -> None:
    """It was never answered, so nothing was accepted."""
    journal = tmp_path / "journal.jsonl"
    with SimulatedEnrow(journal=journal) as api:
        post(api, PAYLOAD)
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[: len(whole) // 2])
    assert len(read_journal(journal).accepted) == 1

    with SimulatedEnrow(journal=journal) as again:
        post(again, PAYLOAD)
        assert list(read_journal(journal).accepted) == again.accepted
        assert len(again.accepted) == 2


@pytest.mark.parametrize(
    "content",
    [
        "id,name\n1,Ada",
        '{"a":1}',
        '{"kind":"accepted"}\n',
        "[]\n",
        '{"kind":"finished","batch_id":"b","finished_at":"t"}\n',
    ],
)
def test_other_files_are_left_alone(tmp_path: Path, content: str) -> None:
    """A file that is named by mistake is no journal, and loses nothing."""
    path = tmp_path / "leads.csv"
    path.write_text(content)

    with pytest.raises(ValueError, match=r"leads\.csv is no entry of a journal"):
        SimulatedEnrow(journal=path)

    assert path.read_text() == content


def test_the_record_outlives_the_server(tmp_path: Path) -> None:
    rules = AccountRules(completes_after_s=0)
    with SimulatedEnrow(journal=tmp_path / "journal.jsonl", rules=rules) as api:
        post(api, PAYLOAD)

    assert [batch.status for batch in api.accepted] == ["completed"]


# Another process


Server = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Server]:
    """Start a server with options and return its URL; all are killed in the end."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str) -> str:
        command = [sys.executable, "-m", "enrow_source.testing", *options]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        return process.stdout.readline().split()[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate(timeout=5)


@contextmanager
def client(key: str = "enrow-test-key") -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["x-api-key"] = key
        yield session


def test_options_of_the_command(serve: Server, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    url = serve(
        *("--api-key", "k", "--credits", "1000", "--credits-per-phone", "50", "--max-searches", "5"),
        *("--found-share", "0.4", "--fetches-to-complete", "0", "--gross-cost", "--journal", str(journal)),
        *("--post-fault", "refuse-search:3", "--post-fault", "accept-then-drop", "--post-fault", "none"),
    )
    with client("k") as session:
        refused = session.post(f"{url}/phone/bulk", json=PAYLOAD, timeout=5)
        with pytest.raises(requests.ConnectionError):
            session.post(f"{url}/phone/bulk", json=PAYLOAD, timeout=5)
        accepted = session.post(f"{url}/phone/bulk", json=PAYLOAD, timeout=5)
        body = session.get(f"{url}/phone/bulk", params={"id": accepted.json()["id"]}, timeout=5).json()
        credits_left = session.get(f"{url}/account/info", timeout=5).json()["credits"]

    assert refused.json() == {"message": "Missing mandatory property on search n°3 of 5"}
    assert body["stats"] == {"credits_cost": 250, "credits_to_refund": 150, "requested": 5, "found": 2}
    assert credits_left == 1000 - 250 - 100
    lost, kept = read_journal(journal).accepted
    assert (lost.fault, lost.post, kept.batch_id) == ("accept-then-drop", 1, accepted.json()["id"])


def test_a_killed_server_is_asked_by_its_journal(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    command = [sys.executable, "-m", "enrow_source.testing", "--journal", str(journal)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process, client() as session:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        answer = session.post(f"{url}/phone/bulk", json=PAYLOAD, timeout=5)
        process.kill()

    assert [batch.batch_id for batch in read_journal(journal).accepted] == [answer.json()["id"]]
    with SimulatedEnrow(journal=journal) as again:
        assert balance(again) == 8300


def test_routes_for_other_processes(api: SimulatedEnrow) -> None:
    """They need no key, and they are not in the record: a test counts the client's requests."""
    own = f"{api.url}/_simulated"
    requests.post(f"{own}/faults", json=["accept-then-500", None], timeout=5)
    assert [post(api, PAYLOAD).status_code for _ in range(2)] == [500, 201]

    accepted = requests.get(f"{own}/accepted", timeout=5).json()["accepted"]
    finished = requests.post(f"{own}/finish", timeout=5).json()["finished"]
    events = requests.get(f"{own}/events", {"form": "balance", "repeats": "2"}, timeout=5).json()["events"]

    assert [batch["batch_id"] for batch in accepted] == finished == [batch.batch_id for batch in api.accepted]
    assert [batch["custom"] for batch in accepted] == [{"submission": "s"}] * 2
    assert events == api.events("balance", repeats=2)
    assert len(api.requests) == 2


@pytest.mark.parametrize(
    "method,route,status",
    [
        ("GET", "events?form=other", 400),
        ("GET", "events?repeats=x", 400),
        ("POST", "faults", 400),
        ("GET", "elsewhere", 404),
        ("GET", "finish", 404),
    ],
)
def test_routes_refuse_what_they_cannot_read(api: SimulatedEnrow, method: str, route: str, status: int) -> None:
    answer = requests.request(method, f"{api.url}/_simulated/{route}", timeout=5)

    assert answer.status_code == status
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "options,message",
    [
        (["--post-fault", "nothing"], "no such fault"),
        (["--post-fault-share", "refuse-503"], "NAME=SHARE"),
        (["--post-fault-share", "refuse-503=2"], "from 0 to 1"),
        (["--found-share", "2"], "found_share"),
        (["--journal", "/nowhere/journal"], "/nowhere/journal"),
    ],
)
def test_bad_options_are_named(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    with pytest.raises(SystemExit) as ended:
        serve_command(parser, parser.parse_args(options))

    assert ended.value.code == 2
    assert message in capsys.readouterr().err
