"""An empty option, as of a variable that is not set, ends each command before it does anything."""

from importlib import import_module

import pytest

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
