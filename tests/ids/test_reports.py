"""What a run says of its ids: counts, log, exit code. 'Fetched 0, exit 0' only where there was nothing."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from enrow_source import ConfigurationError, enrow_source
from enrow_source.cli import main
from enrow_source.testing import Response, SimulatedEnrow
from tests.support.command import called

pytestmark = pytest.mark.usefixtures("held_open")


@pytest.fixture
def command(
    api: SimulatedEnrow,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    logged: pytest.LogCaptureFixture,
) -> Any:
    """Run the command in the empty folder; returns its exit code, and what it printed and logged."""
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")

    def run(*arguments: str, piped: bytes = b"") -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped)))
        ended = called(main, ["run", *arguments], capsys)
        return ended.returncode, ended.stdout + ended.stderr + logged.text

    return run


FINISHED = {"event": "bulk_phone_search_finished", "id": "a"}


@pytest.mark.parametrize(
    "piped",
    [b"a\nb\n", b"n,Batch ID\n1,a\n2,b\n", (json.dumps(FINISHED) * 2 + json.dumps(FINISHED | {"id": "b"})).encode()],
)
def test_standard_input_is_read_like_a_file(command: Any, api: SimulatedEnrow, piped: bytes) -> None:
    for batch_id in "ab":
        api.add_completed(batch_id, 1)
    code, said = command("--batch-ids-file", "-", piped=piped)
    assert (code, [api.fetches(batch_id) for batch_id in "ab"]) == (0, [1, 1]), said


def test_what_is_refused_is_counted_with_its_place(command: Any, api: SimulatedEnrow, tmp_path: Path) -> None:
    """In files and on standard input, and an event of another product beside it."""
    (tmp_path / "ids").mkdir()
    (tmp_path / "ids" / "a.txt").write_text("a\nno id\n")
    (tmp_path / "ids" / "b.xlsx").write_bytes(b"PK\x03\x04")
    (tmp_path / "ids" / "c.json").write_text('{"event": "bulk_email_search_finished", "id": "x"}')
    api.add_completed("a", 1)
    code, said = command("--batch-ids-file", "ids", "-", piped=b"no|batch\n")
    assert code == 3, said
    assert "invalid ids              3" in said
    assert "skipped events           1" in said
    for place in ("a.txt:2 is 'no id'", "b.xlsx is a .xlsx file", "standard input:1 has 2 columns"):
        assert place in said
    assert [request.query for request in api.requests if request.path == "/phone/bulk"] == ["id=a"]


@pytest.mark.parametrize(
    "arguments,said",
    [
        (["--batch-ids-file", ""], "--batch-ids-file is empty"),
        (["--batch-ids-query", " "], "--batch-ids-query is empty"),
        (["--batch-ids-file", "x", "--batch-ids-cursor", ""], "--batch-ids-cursor is empty"),
        (["a", "--dataset", ""], "--dataset is empty"),
        (["a", "--metrics-file", ""], "--metrics-file is empty"),
        ([""], "BATCH_ID is empty"),
        (["a b"], "batch_ids[0] is 'a b': a batch id has no white space inside"),
        (["id"], "batch_ids[0] is 'id': it is the name of a column"),
        (["ids.txt"], "ids.txt is a file: read its ids with --batch-ids-file ids.txt"),
        (["--batch-ids-file", "-"], "standard input has no batch ids"),
        (["--batch-ids-file", "elsewhere/*.txt"], "there is no folder"),
    ],
)
def test_an_empty_or_wrong_argument_is_an_error(
    command: Any, api: SimulatedEnrow, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "ids.txt").write_text("a\n")
    code, found = command(*arguments)
    assert (code, api.requests) == (2, [])
    assert said in found


OPTIONS = ("batch_ids_file", "batch_ids_query", "batch_ids_cursor", "batch_ids_database", "shard", "pii")


@pytest.mark.parametrize("name", [*OPTIONS, "enrow_api_key", "enrow_base_url"])
def test_an_empty_option_is_an_error(name: str, api: SimulatedEnrow) -> None:
    """As an argument, and as a variable that is set to nothing."""
    options = {"enrow_api_key": api.api_key, "enrow_base_url": api.url, "batch_ids": ["a"]} | {name: ""}
    with pytest.raises(ConfigurationError, match=name.removeprefix("enrow_")):
        list(enrow_source(**options))  # type: ignore[arg-type]


def test_pending_reads_no_configured_ids(
    command: Any, api: SimulatedEnrow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ids.txt").write_text("a\n")
    monkeypatch.setenv("SOURCES__ENROW__BATCH_IDS_FILE", "ids.txt")
    code, said = command("--pending")
    assert (code, api.fetches("a")) == (0, 0), said


@pytest.mark.parametrize("ids", [["a"], ["--batch-ids-file", "ids.txt"], ["--batch-ids-query", "SELECT 'a' AS id"]])
def test_pending_beside_ids_is_an_error(command: Any, api: SimulatedEnrow, ids: list[str]) -> None:
    code, said = command("--pending", *ids)
    assert (code, "--pending reads no ids" in said) == (2, True), said
    with pytest.raises(ConfigurationError, match="pending_only reads no ids"):
        enrow_source(["a"], enrow_api_key=api.api_key, enrow_base_url=api.url, pending_only=True)
    assert not api.requests


@pytest.mark.parametrize(
    "statuses,code",
    [
        ([500, 500, 500], 5),
        ([500, 404, 500], 3),
        pytest.param([429], 5, marks=pytest.mark.slow),
        pytest.param([500], 3, marks=pytest.mark.slow),
    ],
)
def test_an_outage_is_no_bad_id(command: Any, api: SimulatedEnrow, statuses: list[int], code: int) -> None:
    """However few ids there are: the API answered for none of them."""
    ids = [api.respond(f"b{n}", Response(status=status)) for n, status in enumerate(statuses)]
    assert command(*ids)[0] == code


def test_an_api_that_is_not_there_is_an_outage(command: Any, api: SimulatedEnrow) -> None:
    with api.refusing_connections():
        assert command("a")[0] == 5


@pytest.mark.parametrize("content", ["", "batch_id,sent_at\n", "# none today\n", "[]"])
def test_a_file_without_ids_is_named(command: Any, content: str) -> None:
    """There was nothing, so the code is 0; the log says where nothing was."""
    Path("ids.json" if content == "[]" else "ids.csv").write_text(content)
    code, said = command("--batch-ids-file", "ids.*")
    assert (code, "ids.json holds no batch id" in said or "ids.csv holds no batch id" in said) == (0, True), said


def test_a_query_without_rows_is_named(command: Any) -> None:
    code, said = command("--batch-ids-query", "SELECT 1 AS batch_id WHERE 1 = 0")
    assert (code, "WARNING" in said, "--batch-ids-query gives no rows" in said) == (0, True, True), said


@pytest.mark.parametrize(
    "location, named",
    [
        ("ftp://127.0.0.1/ids.txt", "ftp:// is no place that batch ids are read from: name a path"),
        ("https://127.0.0.1/ids.txt", "https:// is no place that batch ids are read from"),
        ("/dev/null", "/dev/null is a pipe or a device"),
        ("pipe", "pipe is a pipe or a device, which cannot be read twice: give it on standard input, as -"),
    ],
)
def test_what_ids_are_not_read_from(command: Any, location: str, named: str) -> None:
    os.mkfifo("pipe")
    code, said = command("--batch-ids-file", location)
    assert (code, named in said) == (2, True), said
