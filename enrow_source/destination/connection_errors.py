"""What a destination says that cannot be opened, without dlt's advice, which is about credentials."""

from __future__ import annotations

from dlt.destinations.exceptions import DestinationConnectionError


def text_of(error: BaseException) -> str:
    """Return what an error says; where another program has the file of DuckDB, that and what to do comes first."""
    if not isinstance(error, DestinationConnectionError):
        return str(error)
    reason = str(error.inner_exc).strip()
    if "Could not set lock on file" not in reason:
        return f"no connection to the destination: {reason}"
    return (
        "another program has the file of DuckDB open, which one program at a time can: close it and run again, nothing"
        f" is lost. DuckDB says: {reason}"
    )
