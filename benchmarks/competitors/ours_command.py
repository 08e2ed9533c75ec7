"""The command: it also recovers what a killed run left, and writes the row of `enrow_runs`."""

from __future__ import annotations

import os
import sys

from enrow_source.cli import main

if __name__ == "__main__":
    url, ids_file, database = sys.argv[1:4]
    os.environ["ENROW_API_KEY"] = "key"
    arguments = ["run", "--base-url", url, "--batch-ids-file", ids_file]
    if database.startswith("postgresql:"):
        os.environ["DESTINATION__POSTGRES__CREDENTIALS"] = database
        arguments += ["--destination", "postgres"]
    sys.exit(main(arguments))
