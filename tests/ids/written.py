"""Files of batch ids, as the tests write them."""

from enrow_source import batch_ids_from_files
from enrow_source.ids.input import read_batch_ids


def read(*locations: str) -> tuple[list[str], list[str]]:
    """Return the ids, and what could not be read."""
    reading = read_batch_ids([batch_ids_from_files(location) for location in locations]).read()
    return list(reading.ids), list(reading.invalid)
