"""Fixtures of the tests of batch ids."""

from collections.abc import Iterator

import psycopg2.extras  # type: ignore[import-untyped] # it has no types
import pytest

from tests.support.postgres import Postgres


@pytest.fixture
def submissions(postgres: Postgres) -> Iterator[Postgres]:
    psycopg2.extras.register_uuid()
    postgres.query(
        "CREATE TABLE submissions (number serial, id uuid, day date, at timestamptz, plain timestamp, word text)"
    )
    yield postgres
    postgres.query("DROP TABLE submissions")
