"""Routes under `/_simulated/` for a test in another process. They are no part of the API: no key, no record.

`GET accepted` lists the accepted batches, `GET events?form=cost&repeats=1` the webhook events of those that ended,
`POST finish` ends all batches in progress, `POST faults` takes a JSON list of names for the next POSTs.
"""

import json
from typing import get_args
from urllib.parse import parse_qsl

from .accepted import EventForm
from .account import Account
from .responses import Response
from .wire import Incoming

ADMIN = "/_simulated/"


def admin(account: Account, incoming: Incoming) -> Response:
    """Answer one of these routes; what it cannot read is a 400 that says why."""
    try:
        match incoming.method, incoming.path.removeprefix(ADMIN):
            case "GET", "accepted":
                return Response(body={"accepted": [batch.as_json() for batch in account.accepted]})
            case "GET", "events":
                return Response(body={"events": _events(account, dict(parse_qsl(incoming.query)))})
            case "POST", "finish":
                return Response(body={"finished": account.finish()})
            case "POST", "faults":
                account.fault_posts(*json.loads(incoming.body))
                return Response(body={})
    except (ValueError, TypeError) as error:
        return Response.message(400, str(error))
    return Response.message(404, f"No such route: the module says which there are under {ADMIN}")


def _events(account: Account, query: dict[str, str]) -> list[dict[str, object]]:
    form = query.get("form", "cost")
    for documented in get_args(EventForm):
        if form == documented:
            return account.events(documented, int(query.get("repeats", "1")))
    raise ValueError(f"no such form: {form!r}; choose from {', '.join(get_args(EventForm))}")
