"""An alert to Slack, or any webhook that takes its messages, when a run did not end well."""

from __future__ import annotations

import dlt
from dlt.common import logger
from dlt.common.runtime.slack import send_slack_message

from ..destination.credits import Credits
from .report import ExitCode, RunReport


def alert(pipeline: dlt.Pipeline, report: RunReport, balance: Credits) -> None:
    """Send what is wrong to `[runtime] slack_incoming_hook`, where one is set and something is wrong.

    Credits that are fewer than `min_credits` are wrong, too.

    The message has counts and names of our own alone: no ids, no answers, no messages of a database.
    https://dlthub.com/docs/running-in-production/alerting
    """
    hook = pipeline.runtime_config.slack_incoming_hook
    if not hook or (report.exit_code is ExitCode.OK and not balance.are_few):
        return
    import requests  # noqa: PLC0415 - a run that ended well, with nothing new, does without

    try:
        send_slack_message(hook, alert_of(pipeline.pipeline_name, report, balance))
    except requests.RequestException as error:
        # Its message would show the hook, which is a secret.
        logger.warning(f"the alert could not be sent: {type(error).__name__}")


def alert_of(pipeline_name: str, report: RunReport, balance: Credits) -> str:
    """Return what is wrong in a line."""
    wrong = {
        "could not be read": report.unreadable,
        "incomplete": report.incomplete,
        "stuck": report.stuck,
        "invalid ids": report.invalid_ids,
        "submissions in doubt": report.submissions_in_doubt,
    }
    message = [f"{count:,} {what}" for what, count in wrong.items() if count]
    message += [reason for reason in (report.stop_reason, report.error) if reason]
    message += [str(balance)] if balance.are_few else []
    outcome = report.exit_code.name.lower().replace("_", " ")
    counts = f"{report.fetched:,} fetched, {report.completed:,} completed"
    return (
        f"*{pipeline_name}*: {outcome} (exit code {report.exit_code}): {', '.join(message)}; {counts}; {report.dataset}"
    )
