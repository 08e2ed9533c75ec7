"""All the pages, by their paths in `docs/reference`."""

from __future__ import annotations

from docs.generate import configuration, errors, tables
from docs.generate.loaded import loaded

_MADE = "<!-- Made from the code by `python -m docs.generate`: a change here would be lost. -->\n\n"


def pages() -> dict[str, str]:
    """Make every page; takes some seconds, since batches are loaded and erased for the examples."""
    with loaded() as warehouse:
        made = {"tables/index.md": tables.overview(warehouse)}
        for table in warehouse.tables.values():
            made[f"tables/{table['name']}.md"] = tables.page(table, warehouse)
    made["configuration.md"] = configuration.page()
    made["errors.md"] = errors.page()
    return {name: f"{_MADE}{text.strip()}\n" for name, text in made.items()}
