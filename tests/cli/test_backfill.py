"""`enrow backfill` where what it needs besides is not installed: it says so, and its help can be read."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from enrow_source.cli import main
from enrow_source.runner.report import ExitCode


@pytest.fixture(autouse=True)
def without_extras() -> None:
    assert find_spec("dask") is None
    assert find_spec("deltalake") is None


def test_help_wants_no_extra(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["backfill", "--help"])
    assert ended.value.code == 0
    assert "--request-budget" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options,message",
    [
        (("--lake", "lake"), "dask and deltalake not installed: pip install 'enrow-source[dask,deltalake]'"),
        (("--destination", "postgres"), "dask not installed: pip install 'enrow-source[dask]'"),
    ],
    ids=["lake", "straight"],
)
def test_missing_extras_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "ids.txt").write_text("one\n")
    assert main(["backfill", "--batch-ids-file", "ids.txt", *options]) == ExitCode.USAGE
    assert capsys.readouterr().err == f"error: {message}\n"
