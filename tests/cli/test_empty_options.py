"""An empty option, as of a variable that is not set, ends each command before it does anything."""

from importlib import import_module

import pytest

from enrow_source.cli import main
from enrow_source.runner.report import ExitCode


@pytest.mark.parametrize(
    "command, arguments, option",
    [
        ("check", ["--dataset", ""], "--dataset"),
        ("check", ["--destination", " "], "--destination"),
        ("check", ["--base-url", ""], "--base-url"),
        ("erase", ["--batch-id", "a", "--dataset", ""], "--dataset"),
        ("erase", ["--batch-id", "a", "--destination", ""], "--destination"),
        ("erase", ["--batch-id", ""], "--batch-id"),
        ("backfill", ["--batch-ids-file", ""], "--batch-ids-file"),
        ("backfill", ["--batch-ids-file", "ids.txt", "--lake", ""], "--lake"),
        ("backfill", ["--batch-ids-file", "ids.txt", "--dataset", ""], "--dataset"),
        ("backfill", ["--batch-ids-file", "ids.txt", "--scheduler", ""], "--scheduler"),
        ("backfill", ["--batch-ids-file", "ids.txt", "--shards", ""], "--shards"),
        ("run", ["--max-batches", ""], "--max-batches"),
        ("run", ["--deadline-s", " "], "--deadline-s"),
        ("submit", ["--people-file", "p.csv", "--max-credits", ""], "--max-credits"),
        ("submit", ["--people-file", "p.csv", "--limit", ""], "--limit"),
        ("simulate", ["--api-key", ""], "--api-key"),
        ("simulate", ["--journal", ""], "--journal"),
    ],
)
def test_it_is_named(command: str, arguments: list[str], option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(f"enrow_source.cli.{command}").main(arguments)
    assert ended.value.code == ExitCode.USAGE
    message = capsys.readouterr().err.splitlines()[-1]
    assert option in message
    assert "is empty" in message


@pytest.mark.parametrize(
    "command, arguments, said",
    [
        ("run", ["--", "--pending"], "--pending stands after --, and is taken for a BATCH_ID"),
        ("submissions", ["resolve", "--not-accepted", "--", "--dataset"], "is taken for a SUBMISSION_ID"),
        ("run", ["--max-batches", "many"], "--max-batches: 'many' is no number: write a whole number, such as 40"),
        ("submit", ["--people-file", "p.csv", "--max-credits", "1,000"], "--max-credits: '1,000' is no number"),
    ],
)
def test_it_says_what_to_write(
    command: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(f"enrow_source.cli.{command}").main(arguments)
    assert ended.value.code == ExitCode.USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "x"], ["submit", "--people-file", "p.csv", "--dry-run"]])
def test_an_empty_number_of_the_environment(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "max_batches" if command[0] == "run" else "credits_per_found"
    monkeypatch.setenv("ENROW_API_KEY", "key")
    monkeypatch.setenv(f"SOURCES__ENROW__{name.upper()}", "")
    assert main(command) == ExitCode.USAGE
    kind = "whole number" if command[0] == "run" else "number"
    assert f"{name} is no {kind}, but empty: write one, or leave the setting out" in capsys.readouterr().err
