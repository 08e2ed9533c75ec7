"""Dagster: the tables as assets, a schedule, a sensor on a folder or bucket of webhook events, and checks of the bill.

`ENROW_EVENTS` names the folder or bucket; `dagster.yaml` beside this file lets one run at a time write.
"""

import os

import dagster as dg
import fsspec

from enrow_source.destination.credits import read_credits
from enrow_source.runner.pipeline import TABLES, build_pipeline
from enrow_source.runner.report import ExitCode
from enrow_source.runner.run import run

DESTINATION = os.environ.get("ENROW_DESTINATION", "duckdb")
EVENTS = os.environ.get("ENROW_EVENTS", "events")
CREDITS_PER_NUMBER = 40
CHECKS = {
    "counts_agree": "requested <> results_received OR found <> found_received",
    # The API does not document whether credits_cost is net of credits_to_refund or gross.
    "credits_agree": f"credits_cost <> {CREDITS_PER_NUMBER} * found_received"
    f" AND credits_cost - COALESCE(credits_to_refund, 0) <> {CREDITS_PER_NUMBER} * found_received",
}
"""What must hold for no completed batch: the API's counts and what arrived, the bill and the numbers that arrived."""


@dg.multi_asset(
    specs=[dg.AssetSpec(table, group_name="enrow", kinds={"dlt"}) for table in TABLES],
    check_specs=[dg.AssetCheckSpec(name, asset="batch_stats") for name in CHECKS],
    pool="enrow",
)
def phone_bulk():
    """Load what is new among the events, and what was still ongoing; then check the bill."""
    pipeline = build_pipeline(DESTINATION)
    report = run(pipeline=pipeline, batch_ids_file=[EVENTS])
    if report.exit_code not in (ExitCode.OK, ExitCode.PARTIAL, ExitCode.INTERRUPTED):
        raise dg.Failure(str(report))
    for table in TABLES:
        rows = {"dagster/row_count": report.rows.get(table, 0), "batches fetched": report.fetched}
        yield dg.MaterializeResult(asset_key=table, metadata=rows)
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name("batch_stats")
        for name, condition in CHECKS.items():
            sql = f"SELECT batch_id FROM {table} WHERE status = 'completed' AND ({condition})"  # noqa: S608 - constants
            wrong = [batch_id for (batch_id,) in client.execute_sql(sql) or ()]
            yield dg.AssetCheckResult(
                check_name=name,
                asset_key="batch_stats",
                passed=not wrong,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"batches": len(wrong), "first": wrong[:10], "credits_cost is": str(read_credits(client))},
            )


enrow_job = dg.define_asset_job("enrow", selection=dg.AssetSelection.groups("enrow"))
every_15_minutes = dg.ScheduleDefinition(job=enrow_job, cron_schedule="*/15 * * * *")


@dg.sensor(job=enrow_job, minimum_interval_seconds=60)
def events_arrived(context: dg.SensorEvaluationContext):
    """Ask for a run when a file of events is newer than the last one seen; the run reads it."""
    files, folder = fsspec.url_to_fs(EVENTS)
    newest = max((files.modified(path).isoformat() for path in files.find(folder)), default="")
    if newest <= (context.cursor or ""):
        return dg.SkipReason(f"nothing new in {EVENTS}")
    context.update_cursor(newest)
    return dg.RunRequest(run_key=newest)


defs = dg.Definitions(assets=[phone_bulk], schedules=[every_15_minutes], sensors=[events_arrived])
