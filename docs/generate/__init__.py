"""Makes the reference in `docs/reference` from the code: `python -m docs.generate`.

The pages come from the schema that a real load leaves, the signature of the source, its docstrings, the commands'
parsers and the error classes; the example rows and answers from a load of made-up batches.
"""

from typing import Final

FOLDER: Final = "docs/reference"
"""Where the pages are, in the repository."""

FAULTS: Final = "faults.md"
"""The page that the tests write, in the same folder."""
