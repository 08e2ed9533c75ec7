"""`python -m docs.generate`: rewrite the pages."""

from pathlib import Path

from docs.generate import FAULTS, FOLDER
from docs.generate.pages import pages


def main() -> None:
    """Write every page, and remove those that no longer are."""
    folder = Path(__file__).parents[2] / FOLDER
    made = pages()
    for file in folder.rglob("*.md"):
        if str(file.relative_to(folder)) not in {*made, FAULTS}:
            file.unlink()
    for name, text in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
