"""`enrow submit`, `enrow submissions` and `enrow run`, as a person types them."""

from __future__ import annotations

import csv
import gc
import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrow_source.cli import main
from enrow_source.testing import Response, SimulatedEnrow

from .rows import row

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def enrow(free_enrow: Command, held_open: None) -> Command:  # noqa: ARG001 - it is open meanwhile
    """Run a command while its DuckDB file is open."""
    return free_enrow


@pytest.fixture
def free_enrow(api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command; returns its exit code and what it printed."""
    monkeypatch.setenv("ENROW_API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__ENROW__ENROW_BASE_URL", api.url)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write the rows in the format that the name of the file says."""
    kind = path.name.split(".")[1]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return str(path)
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8-sig") as opened:
            writer = csv.DictWriter(opened, list(rows[0]), delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
        return str(path)
    text = json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def query(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect("warehouse.duckdb") as connection:
        return connection.execute(f"USE enrow_data; {sql}").fetchall()


def query_tables() -> list[tuple[Any, ...]]:
    with duckdb.connect("warehouse.duckdb") as connection:
        return connection.execute("SELECT table_name FROM information_schema.tables").fetchall()


def test_from_people_to_numbers(enrow: Command, tmp_path: Path, api: SimulatedEnrow) -> None:
    leads = write(tmp_path / "leads.csv", [row(number) for number in range(1, 6)])
    code, out, _ = enrow("submit", "--people-file", leads, "--dry-run")
    assert (code, "credits held at most                       200" in out) == (0, True)
    assert query_tables() == []
    code, out, err = enrow("submit", "--people-file", leads, "--max-credits", "4000", "--campaign", "spring")
    assert (code, err) == (0, "")
    assert "accepted                                     5" in out
    api.finish()
    assert enrow("run")[0] == 0
    assert query("SELECT count(*), count(number) FROM phone_results") == [(5, 3)]
    code, out, _ = enrow("submissions")
    assert out.splitlines()[0].split() == [
        "submission",
        "state",
        "searches",
        "credits",
        "batch",
        "id",
        "age",
        "message",
    ]
    assert out.splitlines()[1].split()[1:5] == ["accepted", "5", "200", api.accepted[0].batch_id]
    query_ = "SELECT params__linkedin_url AS linkedin_url FROM enrow_data.phone_results"
    code, out, _ = enrow("submit", "--people-query", query_, "--max-credits", "4000")
    assert (code, "found already" in out, len(api.accepted)) == (0, True, 1)


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.json", "p.jsonl.gz", "p.parquet"])
def test_files_of_people(enrow: Command, tmp_path: Path, name: str) -> None:
    """A dry run reads them as a submission does: two people, and nothing to tell of any row."""
    code, out, err = enrow("submit", "--people-file", write(tmp_path / name, [row(1), row(2)]), "--dry-run")
    assert (code, err) == (0, "")
    assert "credits held at most                        80" in out


def test_unknown_and_what_a_person_does_about_it(enrow: Command, tmp_path: Path, api: SimulatedEnrow) -> None:
    leads = write(tmp_path / "leads.csv", [row(1)])
    api.fault_posts("refuse-then-drop")
    code, out, _ = enrow("submit", "--people-file", leads, "--max-credits", "40")
    assert (code, "it is not known whether a batch was accepted" in out) == (7, True)
    ((submission_id,),) = query("SELECT submission_id FROM submissions")
    code, out, _ = enrow("submissions", "resolve", submission_id, "--not-accepted", "--dataset", "enrow_data")
    assert (code, "refused" in out) == (0, True)
    code, _, err = enrow("submissions", "resolve", submission_id, "--batch-id", "x")
    assert (code, "there is nothing to resolve" in err) == (2, True)
    assert enrow("submit", "--people-file", leads, "--max-credits", "40")[0] == 0


@pytest.mark.parametrize(
    "rows, message",
    [
        ([{"first_name": "Alma"}], "'first_name' (write first_name AS firstname)"),
        ([{"LastName": "M", "company": "A"}], "'company' (write company AS company_name)"),
        ([row(1) | {"email": "alma@amber.example"}], "'email' (leave it out)"),
        ([{"custom": "x"}], "has no column that names a person"),
    ],
)
def test_other_columns_are_refused_by_name(
    enrow: Command, tmp_path: Path, api: SimulatedEnrow, rows: list[dict[str, Any]], message: str
) -> None:
    code, _, err = enrow("submit", "--people-file", write(tmp_path / "p.jsonl", rows), "--max-credits", "80")
    assert (code, message in err) == (2, True), err
    assert not api.accepted


def test_a_refused_header_is_all_that_is_printed(
    enrow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback followed it: the file was closed before what reads its lines."""
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: unraisable.append(raised.exc_value))
    (tmp_path / "leads.csv").write_text("First Name,LinkedIn\nAlma,x\n", encoding="utf-8")
    code, _, err = enrow("submit", "--people-file", "leads.csv", "--dry-run")
    gc.collect()
    assert (code, unraisable, err.count("\n")) == (2, [], 1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--people-file", ""], "--people-file is empty"),
        (["--people-file", "nowhere.csv"], "there is no file nowhere.csv"),
        (["--people-file", "leads.xlsx"], "is no file of people by its name"),
        (["--people-query", "DROP TABLE x"], "write one SELECT"),
        (["--people-query", ""], "--people-query is empty"),
        (["--people-file", "p.csv", "--campaign", " "], "--campaign is empty"),
        ([], "one of the arguments --people-file --people-query is required"),
        (["--people-file", "p.csv", "--custom", "[]"], "--custom is no JSON object"),
        (["--people-file", "p.csv", "--destination", "nothing"], "dlt has no destination 'nothing'"),
    ],
)
def test_something_to_fix(enrow: Command, api: SimulatedEnrow, arguments: list[str], message: str) -> None:
    code, _, err = enrow("submit", *arguments, "--max-credits", "80")
    assert (code, message in err) == (2, True), err
    assert not api.accepted


@pytest.mark.parametrize(
    "values, reason",
    [
        ({"linkedin_url": "https://www.linkedin.com/company/amber"}, "not the address of a person's profile"),
        ({"linkedin_url": "https://amber.example/alma"}, "is no address of a profile"),
        ({"linkedin_url": "https://www.linkedin.com/in/"}, "not the address of a person's profile"),
        ({"linkedin_url": 5}, "linkedin_url is a int, not a text"),
        ({"linkedin_url": "https://www.linkedin.com/in/a\x00b"}, "has control characters"),
        ({"linkedin_url": "x" * 501}, "has more than 500 characters"),
        ({"linkedin_url": None, "firstname": "Alma", "lastname": "Marlow"}, "company_domain or company_name missing"),
        ({"firstname": "A", "lastname": "M", "company_domain": "https://amber.example"}, "is no domain"),
        ({"firstname": "A", "lastname": "M", "company_domain": "alma@amber.example"}, "is no domain"),
    ],
)
def test_rows_that_cannot_be_searched(enrow: Command, tmp_path: Path, values: Mapping[str, Any], reason: str) -> None:
    """Each is reported with its number and the reason, and costs nobody else the search."""
    leads = write(tmp_path / "leads.jsonl", [row(1), dict(values), row(2)])
    code, out, _ = enrow("submit", "--people-file", leads, "--dry-run")
    assert (code, "row 2: " in out, reason in out) == (3, True, True), out
    assert "credits held at most                        80" in out


def test_json_lines_for_a_machine(enrow: Command, tmp_path: Path) -> None:
    leads = write(tmp_path / "leads.csv", [row(1)])
    code, out, _ = enrow("submit", "--people-file", leads, "--max-credits", "40", "--log-format", "json")
    last = json.loads(out.splitlines()[-1])
    assert (code, last["searches_accepted"], last["credits_held"], last["exit_code"]) == (0, 1, 40, 0)
    code, out, _ = enrow("submissions", "--log-format", "json")
    assert json.loads(out)["submission"]["state"] == "accepted"


def test_run_without_ids_and_without_submissions(free_enrow: Command, tmp_path: Path) -> None:
    code, _, err = free_enrow("run")
    assert (code, "no batch ids" in err) == (2, True)
    assert not (tmp_path / "warehouse.duckdb").exists()


def test_the_balance_of_each_run_is_a_row(enrow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When do we run out: a row for each run of submit, run and check, and none for a dry run."""
    leads = write(tmp_path / "leads.csv", [row(1), row(2)])
    enrow("submit", "--people-file", leads, "--dry-run")
    enrow("submit", "--people-file", leads, "--max-credits", "80")
    enrow("run")
    enrow("check")
    monkeypatch.setenv("SOURCES__ENROW__MIN_CREDITS", "9000")
    enrow("run")
    assert query("SELECT command, credits FROM account_credits ORDER BY checked_at") == [
        ("submit", 8_420),
        ("run", 8_420),
        ("check", 8_420),
        ("run", 8_420),
    ]
    assert query("SELECT count(*) FROM account_credits JOIN enrow_runs USING (run_id) WHERE command = 'run'") == [(2,)]
    comments = query("SELECT count(*) FROM duckdb_columns() WHERE table_name = 'submissions' AND comment IS NOT NULL")
    assert comments == [(11,)]


def test_min_credits_that_is_no_number_is_refused(
    enrow: Command, tmp_path: Path, api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the end, when the run has loaded and would have had another exit code."""
    monkeypatch.setenv("SOURCES__ENROW__MIN_CREDITS", "some")
    leads = write(tmp_path / "leads.csv", [row(1)])
    for call in (("run", api.add_completed("a", 1)), ("submit", "--people-file", leads, "--max-credits", "40")):
        code, _, err = enrow(*call)
        assert (code, "min_credits" in err) == (2, True), err
    assert api.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        Response.server_error(503),
        *(
            pytest.param(answer, marks=pytest.mark.slow)
            for answer in (Response(body={"credits": "many"}), Response.dropped(), Response.bad_key())
        ),
    ],
)
def test_a_silent_account_changes_no_run(
    enrow: Command, api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch, answer: Response
) -> None:
    """The balance is asked for at the end of each run; where that fails, the run is what it was."""
    monkeypatch.setattr(api, "info", lambda: answer)
    assert enrow("run", api.add_completed("a", 1))[0] == 0
    assert api.requests[-1].path == "/account/info"
    assert query("SELECT count(*) FROM phone_results") == [(1,)]


def test_files_are_refused_with_the_reason(enrow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before that, the setting that is missing is named."""
    call = ("submit", "--people-file", write(tmp_path / "p.csv", [row(1)]), "--max-credits", "40")
    code, _, err = enrow(*call, "--destination", "filesystem")
    assert (code, "BUCKET_URL" in err) == (2, True), err
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "lake"))
    code, _, err = enrow(*call, "--destination", "filesystem")
    assert (code, "files have none" in err) == (2, True), err


@pytest.mark.slow
def test_all_commands_speak_of_one_warehouse(
    free_enrow: Command, tmp_path: Path, api: SimulatedEnrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --destination it is [destination.warehouse], for whoever submits as for whoever loads, checks, erases."""
    monkeypatch.setenv("DESTINATION__WAREHOUSE__DESTINATION_TYPE", "duckdb")
    monkeypatch.setenv("DESTINATION__WAREHOUSE__CREDENTIALS", str(tmp_path / "own.duckdb"))
    monkeypatch.setenv("SOURCES__ENROW__PII_SECRET", "a secret of the tests")
    leads = write(tmp_path / "leads.csv", [row(1)])
    assert free_enrow("submit", "--people-file", leads, "--max-credits", "40")[0] == 0
    code, out, _ = free_enrow("submissions")
    assert (code, api.accepted[0].batch_id in out) == (0, True)
    api.finish()
    assert free_enrow("run")[0] == 0
    assert free_enrow("check")[0] == 0
    assert free_enrow("erase", "--linkedin-url", row(1)["linkedin_url"], "--execute")[0] == 0
    assert [path.name for path in tmp_path.glob("*.duckdb")] == ["own.duckdb"]
    with duckdb.connect("own.duckdb") as connection:
        commands = connection.execute("SELECT DISTINCT command FROM enrow_data.account_credits ORDER BY ALL").fetchall()
        assert commands == [("check",), ("run",), ("submit",)]
        assert connection.execute("SELECT count(*) FROM enrow_data.phone_results").fetchall() == [(0,)]


def test_run_beside_a_submitter_names_no_ids(free_enrow: Command, tmp_path: Path) -> None:
    """Whether somebody has submitted cannot be read while the file is held: the run does not ask for ids."""
    leads = write(tmp_path / "leads.csv", [row(1)])
    assert free_enrow("submit", "--people-file", leads, "--max-credits", "40")[0] == 0
    held = "import duckdb, sys; held = duckdb.connect('warehouse.duckdb'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        code, _, err = free_enrow("run")
        holder.communicate()
    assert (code, "no batch ids" in err) == (1, False), err
    assert free_enrow("run")[0] == 0


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
@pytest.mark.parametrize("name", ["p.csv", "p.json", "p.jsonl"])
def test_encodings_of_people(enrow: Command, name: str, encoding: str) -> None:
    """They are those in which ids are read."""
    text = "linkedin_url,custom\nhttps://www.linkedin.com/in/a-person,é\n"
    if name != "p.csv":
        text = json.dumps({"linkedin_url": "https://www.linkedin.com/in/a-person"})
    Path(name).write_bytes(text.encode(encoding))
    code, out, err = enrow("submit", "--people-file", name, "--dry-run")
    assert (code, "to be submitted                              1" in out) == (0, True), out + err


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_people_in_another_encoding(enrow: Command, name: str) -> None:
    """It was told in Python's words; nothing is sent of a file of which some names would be wrong."""
    text = "firstname,lastname,company_name\nRené,Descartes,A\n"
    if name != "p.csv":
        text = '{"firstname": "A"}\n{"firstname": "René"}\n'
    Path(name).write_bytes(text.encode("latin-1"))
    code, _, err = enrow("submit", "--people-file", name, "--dry-run")
    assert (code, err) == (2, f"error: {name}:2 is not UTF-8: save the file as UTF-8, or as UTF-16\n")


@pytest.mark.parametrize(
    "source, named",
    [
        (("--people-file", "none.csv"), "none.csv holds nobody"),
        (("--people-file", "header.csv"), "header.csv holds nobody"),
        (("--people-file", "none.json"), "none.json holds nobody"),
        (("--people-query", "SELECT '' AS linkedin_url WHERE 1 = 0"), "the query of people holds nobody"),
    ],
)
def test_nobody_is_told(enrow: Command, source: tuple[str, str], named: str, logged: pytest.LogCaptureFixture) -> None:
    """There was nobody, so the code is 0; the log says where nobody was."""
    for name, content in (("none.csv", ""), ("header.csv", "linkedin_url\n"), ("none.json", "")):
        Path(name).write_text(content)
    code, out, _ = enrow("submit", *source, "--dry-run")
    assert (code, named in logged.text) == (0, True), logged.text
    assert "to submit, give" not in out


@pytest.mark.parametrize(
    "arguments, told",
    [
        (
            ("--max-credits", "79"),
            "2 searches hold 80 credits, and --max-credits is 79: allow 80, or submit 1 with --limit",
        ),
        (("--max-credits", "39"), "and --max-credits is 39: allow 80; one search holds 40"),
        ((), "nothing was sent and nothing was written: to submit, give --max-credits 80 in place of --dry-run"),
    ],
)
def test_a_dry_run_says_what_it_takes(enrow: Command, arguments: tuple[str, ...], told: str) -> None:
    """It said to leave --dry-run out, where that would have been refused."""
    leads = write(Path("leads.csv"), [row(1), row(2)])
    code, out, _ = enrow("submit", "--people-file", leads, "--dry-run", *arguments)
    assert (code, told in out) == (2 if arguments else 0, True), out
    assert ("to submit, give" in out) is (not arguments)


def test_a_dry_run_compares_the_balance(enrow: Command, api: SimulatedEnrow) -> None:
    api.credits = 79
    leads = write(Path("leads.csv"), [row(1), row(2)])
    code, out, _ = enrow("submit", "--people-file", leads, "--dry-run")
    assert (code, "the account has 79: buy some, or submit 1 with --limit" in out) == (2, True), out
