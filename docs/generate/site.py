"""Builds the documentation site: `make docs` runs it in an environment of its own, which has zensical and mmdr.

Every page of the repository keeps its place, so that links hold there and here. Diagrams become pictures, since
mermaid would be loaded from outside; with that the site needs nothing that is not in its folder.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import mmdr

REPOSITORY: Final = Path(__file__).parents[2]
BUILD: Final = REPOSITORY / "build" / "docs"
PROJECT: Final = ("CHANGELOG.md", "docs/decisions.md", "SECURITY.md", "CONTRIBUTING.md")
FIRST: Final = (
    "quick-start",
    "batch-ids",
    "configuration",
    "destinations",
    "scheduling",
    "monitoring",
    "privacy",
    "backfill",
    "analysis",
    "performance",
    "failure-modes",
    "troubleshooting",
)
"""The order of the pages in `docs/`; others come after them."""

OUTSIDE: Final = "https://unpkg.com/iframe-worker/shim"
SCRIPT: Final = "offline_search.js"
STYLE: Final = "td:first-child code { white-space: nowrap }\n"


def main() -> int:
    """Build the site into `build/docs/site`."""
    shutil.rmtree(BUILD, ignore_errors=True)
    source = BUILD / "source"
    for name in ("README.md", "dbt/README.md", "LICENSE", *PROJECT):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, source / name)
    pages_alone = shutil.ignore_patterns("generate")
    shutil.copytree(REPOSITORY / "docs", source / "docs", dirs_exist_ok=True, ignore=pages_alone)
    for page in source.rglob("*.md"):
        page.write_text(_with_pictures(page), encoding="utf-8")
    (source / "tables.css").write_text(STYLE, encoding="utf-8")
    settings = [f"{name} = {_toml(value)}" for name, value in _settings().items()]
    text = "\n".join(["[project]", *settings, f"nav = {_nav(source)}", THEME])
    (BUILD / "zensical.toml").write_text(text, encoding="utf-8")
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--config-file", "zensical.toml"],
        cwd=BUILD,
        check=False,
    )
    if built.returncode == 0:
        _without_outside(BUILD / "site")
        sys.stdout.write(f"{BUILD / 'site' / 'index.html'}\n")
    return built.returncode


def _without_outside(site: Path) -> None:
    """Put a script of our own where zensical would load one, so that search works in a page opened as a file."""
    shutil.copy(Path(__file__).with_name(SCRIPT), site / "assets" / SCRIPT)
    for page in site.rglob("*.html"):
        root = "../" * (len(page.relative_to(site).parts) - 1)
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace(OUTSIDE, f"{root}assets/{SCRIPT}"), encoding="utf-8")


def _settings() -> dict[str, object]:
    return {
        "site_name": "enrow_source",
        "site_description": "A dlt source for Enrow's bulk phone searches",
        "docs_dir": "source",
        "site_dir": "site",
        "use_directory_urls": False,
        "extra_css": ["tables.css"],
    }


def _nav(source: Path) -> str:
    """Name every page: what is new in `docs/` gets its place without a change here."""
    overview = source / "docs" / "reference" / "tables" / "index.md"
    linked = re.findall(r"\]\((\w+\.md)\)", overview.read_text(encoding="utf-8"))
    tables = [overview, *(overview.with_name(name) for name in linked)]
    others = {page.stem: page for page in sorted((source / "docs").glob("*.md"))}
    others.pop("decisions")
    guides = [others.pop(name) for name in FIRST if name in others] + list(others.values())
    reference = [source / "docs" / "reference" / name for name in ("configuration.md", "errors.md", "faults.md")]
    sections = {
        "Guides": guides,
        "Tables": tables,
        "Reference": [*reference, source / "dbt" / "README.md"],
        "Project": [source / name for name in PROJECT],
    }
    message: list[object] = [{"Start": "README.md"}]
    message += [
        {title: [{_title(page): str(page.relative_to(source))} for page in pages]} for title, pages in sections.items()
    ]
    return _toml(message)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else json.dumps(value, ensure_ascii=False)


def _title(page: Path) -> str:
    (heading, *_) = re.findall(r"^# (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE) or [page.stem]
    return str(heading).replace("`", "")


THEME: Final = """
[project.theme]
font = false
features = ["navigation.sections", "navigation.top", "content.code.copy", "toc.follow", "search.highlight"]

[[project.theme.palette]]
scheme = "default"
toggle.icon = "lucide/sun"
toggle.name = "Switch to dark"

[[project.theme.palette]]
scheme = "slate"
toggle.icon = "lucide/moon"
toggle.name = "Switch to light"

[project.plugins.offline]
"""


def _with_pictures(page: Path) -> str:
    """Render the diagrams of a page beside it; return the page with pictures in their place."""
    number = 0

    def rendered(fence: re.Match[str]) -> str:
        nonlocal number
        number += 1
        picture = page.with_name(f"{page.stem}-{number}.svg")
        picture.write_text(mmdr.render(fence[1]).svg(), encoding="utf-8")
        return f"![Diagram]({picture.name})"

    return re.sub(
        r"^```mermaid\n(.*?)^```$", rendered, page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )


if __name__ == "__main__":
    sys.exit(main())
