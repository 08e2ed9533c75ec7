"""A run that ended badly in several ways: the report has all of them, the exit code is the gravest."""

from datetime import UTC, datetime
from typing import Any

import pytest

from enrow_source import ExitCode, RunReport
from enrow_source.fetch.stop import StopReason


def report(**fields: Any) -> RunReport:
    now = datetime.now(UTC)
    usual = {"rows": {}, "destination": "d", "dataset": "s", "trigger": "t", "started_at": now, "ended_at": now}
    return RunReport(**{**usual, **fields})


@pytest.mark.parametrize(
    "fields, reasons",
    [
        ({}, []),
        ({"stuck": 1}, [ExitCode.STUCK]),
        ({"stuck": 1, "unreadable": 2}, [ExitCode.STUCK, ExitCode.PARTIAL]),
        ({"submissions_in_doubt": 1, "stuck": 1}, [ExitCode.IN_DOUBT, ExitCode.STUCK]),
        ({"incomplete": 1}, [ExitCode.PARTIAL]),
        ({"invalid_ids": 1, "stop_reason": StopReason.DEADLINE}, [ExitCode.PARTIAL, ExitCode.INTERRUPTED]),
        ({"stuck": 1, "stop_reason": StopReason.STOPPED}, [ExitCode.STUCK, ExitCode.INTERRUPTED]),
        ({"unreadable": 60, "stop_reason": StopReason.API_UNAVAILABLE}, [ExitCode.API_UNAVAILABLE, ExitCode.PARTIAL]),
        ({"error": "E in load", "stuck": 1}, [ExitCode.FAILED, ExitCode.STUCK]),
        ({"error": "E in extract", "is_config_error": True}, [ExitCode.USAGE]),
    ],
)
def test_reasons(fields: dict[str, Any], reasons: list[ExitCode]) -> None:
    found = report(**fields)
    assert found.reasons == reasons
    assert found.exit_code == next(iter(reasons), ExitCode.OK)
    shown = [line for line in str(found).splitlines() if line.startswith("reasons")]
    assert len(shown) == (len(reasons) > 1)
    assert all(reason.name.lower() in line for line in shown for reason in reasons)
