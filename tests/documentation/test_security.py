"""SECURITY.md is true: the tests it names exist, and every dependency is locked."""

from __future__ import annotations

import re

from tests.support import REPOSITORY

pytest_plugins = ("tests.support.postgres",)


def test_security_md_names_existing_tests() -> None:
    """The promises of SECURITY.md name tests that exist."""
    text = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text)
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not re.search(rf"^(?:async )?def {test}\(", (REPOSITORY / file).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert missing == []
    promises = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert promises
    assert [line for line in promises if "::test_" not in line] == []


def test_every_dependency_is_locked_with_a_hash() -> None:
    for file in (REPOSITORY / "requirements").glob("*.txt"):
        text = re.sub(r"\\\n\s*", " ", file.read_text(encoding="utf-8"))
        locked = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        assert locked
        assert [line for line in locked if not re.search(r"==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == [], file.name
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in makefile.splitlines() if re.search(r"\binstall\b.* -r ", line)]
    assert installs
    assert [line for line in installs if "--require-hashes" not in line] == []
