"""`python -m tests.destinations.environments`: write the lock files anew."""

from tests.destinations.environments import lock

lock()
