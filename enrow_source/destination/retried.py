"""Rows that are there twice since a job was done twice: dlt does a job again whose answer was lost.

Postgres commits a COPY, and the connection ends before it says so. Neither an append nor the merge of `phone_results`
has a key that would notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dlt.common.destination.client import JobClientBase
from dlt.common.storages.exceptions import LoadPackageNotFound
from dlt.destinations.job_client_impl import SqlJobClientBase

from ..tables.schema import LEDGER_TABLES, PHONE_RESULTS, PHONE_RESULTS_LEDGER
from .packages import completed_packages
from .sql import exists

if TYPE_CHECKING:
    import dlt


DONE_TWICE: Final = (
    "a statement of the load was done twice, since its first answer was lost, and rows are there twice: run again with"
    " the same ids. The batches of this load are fetched again"
)


def is_retried(pipeline: dlt.Pipeline, load_id: str) -> bool:
    """Whether a job of the load, which is complete, took more than one try."""
    try:
        jobs = completed_packages(pipeline).get_load_package_jobs(load_id)
    except LoadPackageNotFound:
        return False
    return any(job.retry_count for job in jobs["completed_jobs"])


def is_doubled(job_client: JobClientBase, load_id: str) -> bool:
    """Whether `phone_results` has more rows of the load than its ledger says, or a ledger has a batch of it twice.

    False in a lake.
    """
    if not isinstance(job_client, SqlJobClientBase):
        return False
    client = job_client.sql_client
    batch_id, of_load = client.escape_column_name("batch_id"), client.escape_column_name("_dlt_load_id")
    there = [name for name in {*LEDGER_TABLES.values()} if exists(client, client.make_qualified_table_name(name))]
    for name in there:
        sql = f"SELECT COUNT(*), COUNT(DISTINCT {batch_id}) FROM {client.make_qualified_table_name(name)}"  # noqa: S608
        ((rows, batches),) = client.execute_sql(f"{sql} WHERE {of_load} = %s", load_id) or [(0, 0)]
        if rows != batches:
            return True
    if PHONE_RESULTS_LEDGER.name not in there:
        return False
    ledger, results = (client.make_qualified_table_name(t.name) for t in (PHONE_RESULTS_LEDGER, PHONE_RESULTS))
    loaded = client.escape_column_name("results_loaded")
    ((claimed,),) = client.execute_sql(f"SELECT SUM({loaded}) FROM {ledger} WHERE {of_load} = %s", load_id) or [(0,)]  # noqa: S608
    ((found,),) = client.execute_sql(f"SELECT COUNT(*) FROM {results} WHERE {of_load} = %s", load_id) or [(0,)]  # noqa: S608
    return int(found) > int(claimed or 0)
