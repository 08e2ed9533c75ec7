"""`python -m tests.destinations`: run the conformance suite on every destination, and print one table of it.

Each target is pytest in a process of the environment that its destination needs. `--real` loads into real accounts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final
from xml.etree import ElementTree as ET

from tests.destinations.environments import EXTRAS, python_of
from tests.destinations.targets import TARGETS, Target
from tests.support import REPOSITORY

SUITE = Path(__file__).parent.relative_to(REPOSITORY)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one case at one destination."""

    word: str
    """`passed` or `FAILED`."""
    seconds: float


@dataclass(frozen=True, slots=True)
class TargetResult:
    """How one target ended."""

    outcomes: dict[str, CaseResult]
    code: int
    """pytest's own."""
    seconds: float


_MAKING: Final = {name: Lock() for name in EXTRAS}
"""Held while an environment is made, which two targets may share."""


def main() -> int:
    """Run the targets that are named, or all; the exit code is 0 where none failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.destinations", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="LEG", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument(
        "--real",
        action="store_true",
        help="load into the account whose credentials are in the environment, as DESTINATION__<NAME>__CREDENTIALS...",
    )
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="targets that run at a time (default: 2)")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    targets = [TARGETS[name] for name in options.targets or TARGETS]
    if options.real and (not options.targets or any(target.real is None for target in targets)):
        parser.error(
            f"--real wants the targets named, of {', '.join(target.name for target in TARGETS.values() if target.real)}"
        )

    # The servers wait much, so that two targets at a time take little more than half as long.
    with ThreadPoolExecutor(options.at_once) as threads:
        done = threads.map(partial(_run, is_real=options.real), targets)
        ends = {target.name: end for target, end in zip(targets, done, strict=True)}
    sys.stdout.write(f"{render(ends, is_real=options.real)}\n")
    passed = sum(outcome.word == "passed" for end in ends.values() for outcome in end.outcomes.values())
    failed = sum(outcome.word != "passed" for end in ends.values() for outcome in end.outcomes.values())
    sys.stdout.write(f"{passed} passed, {failed} failed\n")
    return int(any(end.code for end in ends.values()))


def _run(target: Target, *, is_real: bool) -> TargetResult:
    for environment in filter(None, (target.environment, target.server_environment)):
        with _MAKING[environment]:
            python_of(environment)
    python = Path(sys.executable) if target.environment is None else python_of(target.environment)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as folder:
        report = Path(folder) / "report.xml"
        command = [str(python), "-m", "pytest", "-q", "--no-header", str(SUITE), f"--confcutdir={SUITE}"]
        command += [f"--destination={target.name}", f"--junitxml={report}", "-p", "no:cacheprovider"]
        # DuckDB installs its extensions into the home folder, and an account may have its credentials there.
        environ = dict(os.environ) if is_real else os.environ | {"HOME": folder}
        ended = subprocess.run(
            [*command, *(["--real"] if is_real else [])],
            cwd=REPOSITORY,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        sys.stderr.write(f"== {target.name}\n{ended.stdout}")
        outcomes = _outcomes(report) if report.exists() else {}
        return TargetResult(outcomes, ended.returncode, time.monotonic() - started)


def _outcomes(report: Path) -> dict[str, CaseResult]:
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - the report is our own
        name = case.attrib["name"].split("[")[0].removeprefix("test_")
        seconds = float(case.attrib["time"])
        # A case that is skipped shows nothing.
        is_bad = any(case.find(bad) is not None for bad in ("failure", "error", "skipped"))
        outcomes[name] = CaseResult("FAILED" if is_bad else "passed", seconds)
    return outcomes


def render(ends: Mapping[str, TargetResult], *, is_real: bool) -> str:
    """Lay out destination x case as a Markdown table."""
    cases = list(dict.fromkeys(case for end in ends.values() for case in end.outcomes))
    rows = [["case", *ends], ["---"] * (len(ends) + 1)]
    for case in cases:
        message = [end.outcomes.get(case, CaseResult("not run", 0)) for end in ends.values()]
        rows.append([case.replace("_", " "), *(f"{o.word} {o.seconds:.1f} s".strip() for o in message)])
    rows.append(["whole target", *(f"{end.seconds:.0f} s" for end in ends.values())])
    emulated = ["" if is_real else TARGETS[target].emulated or "" for target in ends]
    rows.append(["emulated by", *emulated])
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join(["", *lines])


if __name__ == "__main__":
    sys.exit(main())
