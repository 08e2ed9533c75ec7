"""Enrow's bulk phone searches, from the installed package enrow-source."""

from importlib.util import find_spec

if find_spec("enrow_source") is None:
    # `dlt init` replaces what it cannot import, and then finds no source.
    raise ImportError("install the package first: pip install enrow-source")

from enrow_source import enrow_source, run

__all__ = ["enrow_source", "run"]
