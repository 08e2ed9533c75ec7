"""`python -m tests.destinations.environments`: rewrite the lock files."""

from tests.destinations.environments import lock

lock()
