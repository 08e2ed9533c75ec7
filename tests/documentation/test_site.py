"""The documentation site, as `make docs` builds it: every page is there, no link is broken, nothing is from outside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support import REPOSITORY

LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
"""Elements whose address a browser loads by itself."""


@pytest.fixture(scope="module")
def site() -> Path:
    env = {name: value for name, value in os.environ.items() if name != "DLT_DATA_DIR"}
    command = [shutil.which("make") or "make", "--silent", ".venv-docs/.ready"]
    made = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, f"the environment of the site could not be made: {made.stderr}"
    built = subprocess.run(
        [".venv-docs/bin/python", "docs/generate/site.py"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, f"{built.stdout}{built.stderr}"
    assert "No issues found" in built.stdout + built.stderr
    return REPOSITORY / "build" / "docs" / "site"


class Addresses(HTMLParser):
    """Collects what a page loads, and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        message = dict(attrs)
        if tag in LOADING and message.get("rel") != "canonical":
            self.loaded += filter(None, [message.get(LOADING[tag])])
        if tag == "a":
            self.linked += filter(None, [message.get("href")])


def pages(site: Path) -> Iterator[tuple[Path, Addresses]]:
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":  # made for a server, which we have not
            continue
        addresses = Addresses()
        addresses.feed(page.read_text(encoding="utf-8"))
        yield page, addresses


def test_it_loads_nothing_from_outside(site: Path) -> None:
    outside = {(page.name, url) for page, found in pages(site) for url in found.loaded if urlsplit(url).netloc}
    assert outside == set()
    styles = [file.read_text(encoding="utf-8") for file in site.rglob("*.css")]
    assert styles
    assert not [url for style in styles for url in re.findall(r"url\(['\"]?(https?:[^)]*)", style)]
    # Diagrams are pictures: the script that would draw them is loaded from outside.
    assert not [page for page, _ in pages(site) if 'class="mermaid"' in page.read_text(encoding="utf-8")]


def test_every_page_is_there_and_no_address_is_broken(site: Path) -> None:
    there = {str(page.relative_to(site).with_suffix("")) for page, _ in pages(site)}
    docs = {str(page.relative_to(REPOSITORY).with_suffix("")) for page in (REPOSITORY / "docs").rglob("*.md")}
    assert docs | {"index", "dbt/index", "CHANGELOG", "SECURITY"} <= there
    broken = set()
    for page, found in pages(site):
        for url in found.loaded + found.linked:
            parts = urlsplit(url)
            if not parts.scheme and parts.path and not (page.parent / unquote(parts.path)).exists():
                broken.add((str(page.relative_to(site)), url))
    assert broken == set()
