"""A simulated Enrow phone-finder API, for tests and demos without a key, credits or the network.

It follows the API as publicly documented, contradictions included, and shares no code with the
connector, so that both cannot rest on one misreading::

    from enrow_source.testing import SimulatedEnrow, Response

    with SimulatedEnrow() as api:
        api.add_ongoing("batch-1", looks=2, results=100)
        api.respond("batch-2", Response.rate_limited(retry_after=1), Response.server_error())
        ...  # point a client at api.url with api.api_key
        assert api.looks("batch-1") == 3

``python -m enrow_source.testing`` starts one with a set of named batches to try by hand.
"""

from . import bodies
from .demo import demo_batches
from .responses import Response
from .server import Request, SimulatedEnrow

__all__ = ["Request", "Response", "SimulatedEnrow", "bodies", "demo_batches"]
