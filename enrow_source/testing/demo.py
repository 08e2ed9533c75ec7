"""A small set of named batches that shows each behaviour of the API once."""

from typing import Unpack

from . import bodies
from .responses import Response
from .server import SimulatedEnrow

_RESULTS = 10
_NEW_EVERYWHERE: bodies.Extra = {
    "top": {"new": 1},
    "general": {"new": 1},
    "stats": {"new": 1},
    "result": {"new": 1},
    "params": {"new": 1},
}


def demo_batches(api: SimulatedEnrow) -> dict[str, str]:
    """Add the named batches; return what each batch id shows, plain cases first.

    One of the ids, `demo-unknown`, is left out of the API on purpose.
    """
    return _lifecycle(api) | _refusals(api) | _contradictions(api)


def _lifecycle(api: SimulatedEnrow) -> dict[str, str]:
    return {
        api.add_documented(): "finished: the documentation's own example, 2 results",
        api.add_completed("demo-3000"): "finished: 3,000 results, the most a batch holds",
        api.add_completed("demo-none-found", _RESULTS, 0.0): "finished: no phone found, no cost",
        api.add_ongoing("demo-ongoing", 2, _RESULTS): "in progress for 2 fetches, then finished",
        api.add_ongoing("demo-never-ends", None, _RESULTS): "in progress at every fetch",
        api.add_failed("demo-failed"): "failed",
    }


def _refusals(api: SimulatedEnrow) -> dict[str, str]:
    def then_finished(batch_id: str, *first: Response) -> str:
        return api.respond(batch_id, *first, bodies.completed(batch_id, _RESULTS, seed=api.seed))

    return {
        "demo-unknown": "400: no such batch",
        api.add_expiring("demo-expired", 1, _RESULTS): "readable once, then expired: 400 as for no such batch",
        api.respond("demo-unknown-404", Response.not_found()): "404: no such batch, older pages",
        api.respond("demo-no-credits", Response.out_of_credits()): "402: out of credits",
        then_finished("demo-rate-limited", Response.rate_limited(1)): "429 with Retry-After: 1 once, then finished",
        then_finished("demo-rate-limited-body", Response.rate_limited(1, in_body=True)): (
            "429 with retry_after in the body too once, then finished"
        ),
        then_finished("demo-server-error", Response.server_error()): "500 once, then finished",
        then_finished("demo-cut-off", Response(body=b" " * 100, truncate_after=50)): (
            "a connection that breaks off once, then finished"
        ),
    }


def _contradictions(api: SimulatedEnrow) -> dict[str, str]:
    def finished(batch_id: str, **variants: Unpack[bodies.Variants]) -> str:
        return api.add_completed(batch_id, _RESULTS, **variants)

    return {
        finished("demo-valid", found_key="valid"): "stats.valid instead of stats.found",
        finished("demo-custom-object", custom={"campaign": "spring"}): "general.custom, an object",
        finished("demo-custom-text", custom="spring"): "general.custom, a string",
        finished("demo-result-custom", result_custom="row-1"): "results[].custom, a string",
        finished("demo-result-custom-object", result_custom={"row": 1}): "results[].custom, an object",
        finished("demo-index-text", index_as_string=True): "results[].index, a numeric string",
        finished("demo-no-refund", without_refund=True): "stats without credits_to_refund",
        finished("demo-null", null_when_not_found=True): "number and country null, not absent",
        finished("demo-credits-object", credits_as_object=True): "stats.credits_cost, an object",
        finished("demo-credits-50", credits_per_phone=50): "50 credits a phone, older plans",
        finished("demo-gross-cost", gross_cost=True): "credits_cost gross of credits_to_refund",
        finished("demo-cost-float", credits_cost=0.30000000000000004): "credits_cost, a number with a fraction",
        finished("demo-first-name", name_keys="first_name"): "params with first_name and last_name",
        finished("demo-fullname", name_keys="fullname", with_email=True): "params with fullname and email",
        finished("demo-status-done", status_text="done"): "status done: not a documented one",
        finished("demo-extra", extra=_NEW_EVERYWHERE): "an undocumented field, new, at every level",
        api.add_ongoing("demo-202", 2, _RESULTS, status=202): "202 while in progress for 2 fetches, then finished",
        api.add_failed("demo-failed-empty", {"requested": _RESULTS}, "empty"): (
            "failed, with a part of stats and no results"
        ),
    }
