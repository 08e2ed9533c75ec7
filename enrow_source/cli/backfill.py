"""`enrow backfill`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dlt.common.configuration.exceptions import ConfigurationException

from ..errors import EnrowError
from ..ids.files import batch_ids_from_files
from ..runner.backfill import CONNECTIONS, SHARDS, Backfill, BackfillError, backfill, check_extras
from ..runner.causes import one_line
from ..runner.pipeline import DATASET_NAME, DESTINATION_HELP, default_destination, destination_type
from ..runner.report import ExitCode
from .arguments import Parser, check_arguments, whole_number

if TYPE_CHECKING:
    from dask.distributed import Client


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code, one of `phone_bulk`'s."""
    parser = _parser()
    options = parser.parse_args(arguments)
    check_arguments(parser, options)
    destination = default_destination() if options.destination is None else options.destination
    if destination_type(destination) == "duckdb" and options.lake is None:
        parser.error("DuckDB has one writer: name a folder or bucket for the workers with --lake")
    lake = options.lake
    if lake is not None and "://" not in lake:
        lake = str(Path(lake).absolute())
    budget = options.request_budget or options.workers * options.connections
    plan = Backfill(destination, options.dataset, lake, options.shards, min(options.connections, budget))
    try:
        check_extras(has_lake=lake is not None)
        # Outside a pipeline all is read each time: the shards' tables say what is loaded.
        batch_ids = [batch_id for place in options.batch_ids_file for batch_id in batch_ids_from_files(place)]
        with _cluster(options.scheduler, options.workers) as client:
            report = backfill(plan, batch_ids, client, budget)
    except (EnrowError, ConfigurationException) as error:
        print(f"error: {parser.in_options(one_line(error), options)}", file=sys.stderr)
        return ExitCode.USAGE
    except (BackfillError, OSError) as error:
        print(f"error: {error}; run the same command again to go on", file=sys.stderr)
        return ExitCode.FAILED
    print(report)
    return report.exit_code


@contextmanager
def _cluster(scheduler: str | None, workers: int) -> Iterator[Client]:
    from dask.distributed import Client, LocalCluster  # noqa: PLC0415 - of an extra

    if scheduler is not None:
        with Client(scheduler) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _parser() -> Parser:
    parser = Parser(prog="enrow backfill", description="Load very many batches on a Dask cluster.")
    parser.add_argument(
        "--batch-ids-file",
        metavar="LOCATION",
        action="append",
        required=True,
        help="a file, glob, folder or bucket URL, as of enrow run; may be repeated",
    )
    parser.add_argument(
        "--lake", metavar="URL", help="folder or bucket for the shards; without it they write to the destination"
    )
    parser.add_argument("--destination", help=DESTINATION_HELP)
    parser.add_argument("--dataset", default=DATASET_NAME, help="dataset or schema (default: %(default)s)")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="address of a running Dask cluster, such as tcp://host:8786"
    )
    parser.add_argument("--workers", type=whole_number, default=2, help="processes of the local cluster (default: 2)")
    parser.add_argument(
        "--shards",
        type=whole_number,
        default=SHARDS,
        help="parts of the ids; keep the number until it is done (default: 64)",
    )
    parser.add_argument(
        "--connections", type=whole_number, default=CONNECTIONS, help="batches a worker fetches at a time (default: 16)"
    )
    parser.add_argument(
        "--request-budget",
        type=whole_number,
        help="most requests at a time over all workers (default: workers x connections)",
    )
    return parser
