"""The rules of the tree that no linter knows: sizes of modules, and what is written in one place alone."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pip._internal.models.index import PyPI

import enrow_source
from enrow_source.destination.suppressions import ERASURES
from enrow_source.tables.schema import BATCHES, DEFERRED_BATCH_IDS, RUNS, TABLES
from tests.support import REPOSITORY

PACKAGE = REPOSITORY / "enrow_source"
MODULES = sorted(PACKAGE.rglob("*.py"))


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S607 - git as it is found
    return listed.stdout.split("\0")[:-1]


def name_of(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


@cache
def constants(module: Path) -> frozenset[str]:
    """Return the texts in the code of a module, its docstrings left out."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone)
    return frozenset(node.value for node in texts if isinstance(node.value, str))


def test_modules_are_short() -> None:
    """A module has under 300 lines, and `source.py`, which is read first, under 200."""
    lines = {name_of(module): len(module.read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {name: count for name, count in lines.items() if count >= (200 if name == "source.py" else 300)} == {}


def test_tests_are_short() -> None:
    """A file of tests has at most 500 lines, and the name of a test at most 50 characters."""
    files = sorted((REPOSITORY / "tests").rglob("*.py"))
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    assert [str(file) for file, text in texts.items() if len(text.splitlines()) > 500] == []
    names = [name for text in texts.values() for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)]
    assert [name for name in names if len(name) > 50] == []


def test_one_module_reads_dlt_current() -> None:
    """What dlt knows of the run under way is read in one place."""
    readers = {
        name_of(module)
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "dlt.current"
    }
    assert readers == {"destination/session.py"}


# `batches` is an everyday word too: the unit of a progress bar, the name of a metric.
@pytest.mark.parametrize(
    "table", [*(table.name for table in (*TABLES, DEFERRED_BATCH_IDS) if table is not BATCHES), RUNS, ERASURES]
)
def test_a_table_name_is_spelled_once(table: str) -> None:
    """The name of a table is a text of one module alone; SQL that a person reads may hold it too."""
    package = [module for module in MODULES if "testing" not in module.parts]
    assert len([module for module in package if table in constants(module)]) == 1


def test_help_imports_nothing_of_dlt() -> None:
    """`enrow --help` answers at once, and Ctrl-C finds the command's own handler in place while dlt is imported."""
    code = (
        "import sys, enrow_source.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "finally: sys.stderr.write(' '.join(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage: enrow" in ended.stdout
    assert not {"dlt", "duckdb", "pyarrow", "requests"} & set(ended.stderr.split())


def test_every_public_name_is_there() -> None:
    assert [name for name in enrow_source.__all__ if getattr(enrow_source, name).__name__ != name] == []


def test_the_top_is_small() -> None:
    """At most ten folders at the top."""
    folders = {name.split("/")[0] for name in tracked() if "/" in name}
    assert len(folders) <= 10, sorted(folders)


def test_no_file_names_a_package_index() -> None:
    """No tracked file names a package index, or a folder of the machine that it was written on."""
    folders = {str(REPOSITORY), f"{Path.home()}{os.sep}"}
    public = (str(urlsplit(PyPI.url).hostname), PyPI.file_storage_domain)
    hosts = {".".join(host.split(".")[-2:]) for host in public}
    for place in package_indexes():
        parts = urlsplit(place)
        if parts.scheme in ("", "file"):
            folders.add(parts.path)
        elif parts.hostname not in ("localhost", "127.0.0.1"):
            hosts.add(str(parts.hostname))
    words = re.compile("|".join(map(re.escape, folders | hosts)).encode())
    assert {name: found[0].decode() for name in tracked() if (found := words.search(contents(name)))} == {}


def package_indexes() -> Iterator[str]:
    """Yield the indexes and folders that pip and uv take packages from, on this machine."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    configured = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in configured.splitlines():
        name, _, value = line.partition("=")
        if name.endswith(("index-url", "find-links")):
            yield from value.strip("'").split()
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS"):
        yield from os.environ.get(name, "").split()


def contents(name: str) -> bytes:
    file = REPOSITORY / name
    return file.read_bytes() if file.is_file() and not file.is_symlink() else b""
