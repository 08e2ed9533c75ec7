"""The simulated API as a command: its options, and the serving."""

import argparse
import signal
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

from .demo import demo_batches
from .faults import FAULT_NAMES, FaultLike, post_fault
from .rules import AccountRules
from .server import SimulatedEnrow

_DEFAULTS = AccountRules()
_FAULT_NAMES = ", ".join(("none", *FAULT_NAMES))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to a parser."""
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--seed", type=int, default=0, help="decides all invented data")
    parser.add_argument("--latency-s", type=float, default=0.0, help="seconds before a response")
    parser.add_argument("--api-key", default="enrow-test-key", help="the one key that is valid")

    account = parser.add_argument_group("account")
    account.add_argument("--credits", type=int, default=8_500, help="the balance at the start (default: %(default)s)")
    _rule(account, "credits_per_phone", int, "credits held for each search (default: %(default)s; 50 on older plans)")
    _rule(account, "max_searches", int, "most searches in one batch (default: %(default)s; 5000 on older pages)")
    _rule(account, "found_share", float, "share of the searches that find a phone, from 0 to 1 (default: %(default)s)")
    _rule(account, "posts_per_s", int, "answer 429 to more POSTs than this (default: no limit; documented: 10)")
    account.add_argument("--gross-cost", action="store_true", help="credits_cost is gross of credits_to_refund")
    account.add_argument(
        "--journal", type=Path, metavar="FILE", help="keep what is accepted in this file, and continue from it"
    )

    batches = parser.add_argument_group("submitted batches")
    batches.add_argument(
        "--fetches-to-complete",
        type=int,
        default=2,
        help="GETs of a batch before it is finished (default: %(default)s)",
    )
    _rule(batches, "completes_after_s", float, "finish a batch after this time, not by GETs", "SECONDS")
    _rule(batches, "expires_after_s", float, "forget a batch this long after its end", "SECONDS")

    faults = parser.add_argument_group("faults of POST /phone/bulk", f"Names: {_FAULT_NAMES}.")
    faults.add_argument(
        "--post-fault",
        action="append",
        type=_fault,
        default=[],
        metavar="NAME",
        help="fault of the next POST; repeatable",
    )
    faults.add_argument(
        "--post-fault-share",
        action="append",
        type=_share,
        default=[],
        metavar="NAME=SHARE",
        help="fault of this share of the POSTs, from 0 to 1, as the seed decides; repeatable",
    )


def _rule(group: Any, name: str, kind: type, explained: str, unit: str | None = None) -> None:  # noqa: ANN401 - argparse's, private
    """Add an option for a field of `AccountRules`."""
    default = getattr(_DEFAULTS, name)
    group.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, metavar=unit, help=explained)


def simulated_api(options: argparse.Namespace) -> SimulatedEnrow:
    """Return the API that the options of `add_arguments` describe.

    Raises ValueError for options that do not fit together, OSError for a journal that
    cannot be opened.
    """
    api = SimulatedEnrow(
        options.api_key,
        options.seed,
        options.latency_s,
        options.port,
        fetches_to_complete=options.fetches_to_complete,
        credits=options.credits,
        rules=replace(
            _DEFAULTS,
            **{field.name: getattr(options, field.name) for field in fields(AccountRules) if field.name in options},
            variants={"gross_cost": True} if options.gross_cost else {},
        ),
        journal=options.journal,
    )
    api.fault_posts(*options.post_fault)
    api.fault_posts_by_chance(dict(options.post_fault_share))
    return api


def serve(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Print where the API listens and what it knows, and serve until Ctrl-C or SIGTERM."""
    try:
        api = simulated_api(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    # SIGTERM ends the service as Ctrl-C does: quietly, with exit code 0.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with api:
            print(_welcome(api), flush=True)
            _sleep()
    except KeyboardInterrupt:
        return
    except (OSError, OverflowError) as error:
        parser.error(f"cannot serve on port {options.port}: {error}")


def _sleep() -> NoReturn:
    while True:
        time.sleep(3_600)


def _fault(name: str) -> FaultLike:
    try:
        return None if name == "none" else post_fault(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    _fault(name)
    try:
        return name, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SHARE") from None


def _welcome(api: SimulatedEnrow) -> str:
    batches = demo_batches(api)
    width = max(map(len, batches))
    rows = [f"  {batch_id:{width}}  {shows}" for batch_id, shows in batches.items()]
    return "\n".join(
        [
            f"Simulated Enrow API: {api.url}",
            "",
            f"  {'batch id':{width}}  what it shows",
            *rows,
            "",
            f"  export ENROW_API_KEY={api.api_key}",
            f"  enrow run --base-url {api.url} {' '.join(list(batches)[:1])}",
            f"  curl -H 'x-api-key: {api.api_key}' '{api.url}/phone/bulk?id=demo-ongoing'",
            "",
            "Ctrl-C ends it.",
        ]
    )
