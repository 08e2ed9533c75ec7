"""What is mistyped on the command line is refused, with what was meant; messages have the command's own words."""

import pytest

from enrow_source.cli import COMMANDS, main


@pytest.mark.parametrize(
    "typed, asked",
    [
        ("rum a", "did you mean run?"),
        ("--vers", "there is no option --vers, did you mean --version?"),
        ("run a --max 5", "there is no option --max, did you mean --max-batches?"),
        ("run a --destinaton=duckdb", "there is no option --destinaton, did you mean --destination?"),
        ("run a --log-format jsn", "did you mean json?"),
        ("submit --people-fil p.csv", "there is no option --people-fil, did you mean --people-file?"),
        ("submissions resolv s", "did you mean resolve?"),
        ("submissions resolve s --not-accept", "there is no option --not-accept, did you mean --not-accepted?"),
        ("check --datset x", "there is no option --datset, did you mean --dataset?"),
        ("erase --batch-id b --exec", "there is no option --exec, did you mean --execute?"),
        ("backfill --batch-ids-file x --shard 5", "there is no option --shard, did you mean --shards?"),
        ("demo --port 5", "there is no option --port"),
        ("simulate --prt 5", "there is no option --prt, did you mean --port?"),
    ],
)
def test_what_was_meant_is_asked(typed: str, asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(typed.split())
    assert (ended.value.code, asked in capsys.readouterr().err) == (2, True)
    assert typed.partition(" ")[0] in COMMANDS or typed.startswith(("rum", "--"))


@pytest.mark.parametrize(
    "typed, named",
    [
        ("run a --max-batches 0", "error: --max-batches is 0: set it"),
        ("run a --base-url ftp://x", "error: --base-url 'ftp://x' is no http(s) URL: set --base-url"),
        ("run --pending --refetch", "--refetch is set, and no id is named"),
        ("run a --batch-ids-cursor at", "error: --batch-ids-cursor needs --batch-ids-query: set it"),
        (
            "submit --people-file p.csv",
            "error: --max-credits is missing: name the most credits that may be held; --dry-run",
        ),
        ("submit --people-file p.csv --limit 0 --dry-run", "error: --limit is 0: set it to 1 or more"),
        ("submit --people-file p.csv --batch-size 4000 --dry-run", "error: --batch-size is 4000"),
        ("submit --people-file p.csv --webhook x --dry-run", "error: --webhook is no https URL"),
    ],
)
def test_options_have_their_names(
    typed: str, named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENROW_API_KEY", "a-key")
    assert main(typed.split()) == 2
    assert named in capsys.readouterr().err


def test_a_setting_keeps_its_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ENROW_API_KEY", "a-key")
    monkeypatch.setenv("SOURCES__ENROW__MAX_BATCHES", "0")
    assert main(["run", "a"]) == 2
    assert "error: max_batches is 0" in capsys.readouterr().err
