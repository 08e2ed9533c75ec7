"""A run as a user writes it who does not know `enrow_source.run`: `pipeline.run(enrow_source(...))`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import dlt

from enrow_source import enrow_source


def main(arguments: Sequence[str]) -> int:
    """Run once, with the arguments that a sequence gives `enrow run`; returns 0, or raises."""
    parser = argparse.ArgumentParser()
    parser.add_argument("batch_ids", nargs="*")
    parser.add_argument("--destination")
    parser.add_argument("--dataset")
    parser.add_argument("--base-url")
    parser.add_argument("--pending", action="store_true")
    given = parser.parse_args(arguments)
    # Two datasets of one user have two pipelines, as dlt's documentation recommends.
    pipeline = dlt.pipeline(f"plain_{given.dataset}", destination=given.destination, dataset_name=given.dataset)
    pipeline.run(enrow_source(given.batch_ids, enrow_base_url=given.base_url, pending_only=given.pending))
    return 0
