"""`enrow erase`: its exit codes, its messages, its standard input."""

import subprocess
from pathlib import Path

import pytest

from enrow_source import ConfigurationError, Subject, SubjectKind, enrow_source, erase
from enrow_source.cli import run as run_command
from enrow_source.cli.erase import main
from enrow_source.runner.pipeline import build_pipeline
from enrow_source.runner.report import ExitCode
from tests.destination.erase.store import NOT_FOUND, NUMBER, OTHER, URL, duckdb_store, environment, load
from tests.support.command import called, enrow

pytest_plugins = ("tests.support.postgres",)

pytestmark = pytest.mark.usefixtures("settings")


@pytest.mark.parametrize(
    "arguments,message",
    [
        ((), "one of the arguments --linkedin-url --number --batch-id --existing is required"),
        (("--number", NUMBER, "--batch-id", "first"), "not allowed with argument"),
        (("--number", "4155550123"), "--number: the number is not E.164"),
        (("--linkedin-url", "https://www.linkedin.com/in/"), "--linkedin-url: the linkedin_url names no profile"),
        (("--number", "+1-nobody-555"), "--number: the number is not E.164"),
        (("--linkedin-url", " / "), "--linkedin-url: the linkedin_url is empty"),
        (("--batch-id", "a\0b"), "--batch-id: the batch is empty, or has characters that no table can hold"),
        (("--batch-id", "a\ud800"), "--batch-id: the batch is empty, or has characters that no table can hold"),
        (("--batch-id", "x", "--destination", "nonsense"), "dlt has no destination 'nonsense'"),
        (("--batch-id", "x", "--destination", "filesystem"), "cannot be deleted with SQL from filesystem"),
        (("--batch-id", "x", "--dataset", "elsewhere"), "has no table of the source: check the names of both"),
    ],
)
def test_wrong_arguments_give_exit_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    """Wrong arguments are reported and give exit code 2."""
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "bucket"))
    ended = called(main, [*arguments, "--execute"], capsys)
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert message in ended.stderr
    assert "4155550123" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_unreachable_destination_gives_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination that cannot be reached gives one line and exit code 1."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", f"postgresql://x:y@localhost/z?host={tmp_path}")
    assert main(["--destination", "postgres", "--number", NUMBER, "--execute"]) == ExitCode.FAILED
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert (printed.out, printed.err.count("\n")) == ("", 1)


@pytest.mark.slow
def test_pending_packages_are_loaded_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a killed run has left must be loaded before an erasure."""
    store = duckdb_store(tmp_path)
    pipeline = build_pipeline()
    pipeline.run(enrow_source(["second"]))
    pipeline.extract(enrow_source(["first"]))
    assert main(["--number", NUMBER]) == ExitCode.OK
    assert main(["--number", NUMBER, "--execute"]) == ExitCode.USAGE
    assert "finish them first, with enrow run --pending" in capsys.readouterr().err
    assert run_command.main(["--pending"]) == ExitCode.OK
    assert main(["--number", NUMBER, "--execute"]) == ExitCode.OK
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND), ("second", *OTHER)]
    pipeline.extract(enrow_source(["third"]))
    with pytest.raises(ConfigurationError, match="packages of a killed run"):
        erase(pipeline, Subject(SubjectKind.NUMBER, NUMBER), execute=True)


@pytest.mark.slow
def test_the_value_can_come_from_standard_input(tmp_path: Path) -> None:
    store = duckdb_store(tmp_path)
    load(store, "first")
    ended = subprocess.run(
        enrow("erase", "--linkedin-url", "-", "--execute"),
        input=f"{URL}\n",
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (ExitCode.OK, "")
    assert store.people() == [("first", *OTHER), ("first", *NOT_FOUND)]
