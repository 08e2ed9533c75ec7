"""`python -m enrow_source.testing`: serve the demo batches until Ctrl-C or SIGTERM."""

import argparse
import signal
import time
from collections.abc import Sequence

from .demo import demo_batches
from .server import SimulatedEnrow


def main(arguments: Sequence[str] | None = None, prog: str = "python -m enrow_source.testing") -> None:
    """Parse the options, print where the API listens and what it knows, and serve."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Simulate the Enrow phone-bulk API on 127.0.0.1.",
    )
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--seed", type=int, default=0, help="decides all invented data")
    parser.add_argument("--latency-s", type=float, default=0.0, help="seconds before a response")
    parser.add_argument("--api-key", default="enrow-test-key", help="the one key that is valid")
    options = parser.parse_args(arguments)
    api = SimulatedEnrow(options.api_key, options.seed, options.latency_s, options.port)

    # SIGTERM ends the service as Ctrl-C does: quietly, with exit code 0.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with api:
            print(_welcome(api), flush=True)
            while True:
                time.sleep(3_600)
    except KeyboardInterrupt:
        return
    except (OSError, OverflowError) as error:
        parser.error(f"cannot serve on port {options.port}: {error}")


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
            f"  curl -H 'x-api-key: {api.api_key}' '{api.url}/phone/bulk?id=demo-ongoing'",
            "",
            "Ctrl-C ends it.",
        ]
    )


if __name__ == "__main__":
    main()
