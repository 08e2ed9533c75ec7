"""A simulated Enrow phone-finder API, for tests and demos without a key, credits or the network.

It follows the API as publicly documented, contradictions included, and shares no code with the
connector, so that both cannot rest on one misreading::

    from enrow_source.testing import AccountRules, Response, SimulatedEnrow, people_accepted_twice

    with SimulatedEnrow(credits=120_000, rules=AccountRules(found_share=0.5)) as api:
        api.add_ongoing("batch-1", fetches=2, results=100)
        api.respond("batch-2", Response.rate_limited(retry_after=1), Response.server_error())
        api.fault_posts("accept-then-drop", None, "refuse-search:8")
        ...  # point a client at api.url with api.api_key
        assert api.fetches("batch-1") == 3
        assert not people_accepted_twice(api.accepted)

``python -m enrow_source.testing`` starts one with a set of named batches to try by hand.
"""

from . import bodies
from .accepted import AcceptedBatch, EventForm, event_lines, finished_event, people_accepted_twice, person_of
from .command import add_arguments, serve
from .demo import demo_batches
from .faults import FAULT_NAMES, FaultLike, PostFault, post_fault
from .journal import JournalState, read_journal
from .responses import Response, WaitForm
from .rules import AccountRules
from .server import Request, SimulatedEnrow

__all__ = [
    "FAULT_NAMES",
    "AcceptedBatch",
    "AccountRules",
    "EventForm",
    "FaultLike",
    "JournalState",
    "PostFault",
    "Request",
    "Response",
    "SimulatedEnrow",
    "WaitForm",
    "add_arguments",
    "bodies",
    "demo_batches",
    "event_lines",
    "finished_event",
    "people_accepted_twice",
    "person_of",
    "post_fault",
    "read_journal",
    "serve",
]
