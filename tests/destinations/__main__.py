"""`python -m tests.destinations`: run the conformance suite on every destination, and print one table of it.

Each leg is pytest in a process of the environment that its destination needs. `--real` loads into real accounts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.destinations.environments import REPOSITORY, python_of
from tests.destinations.legs import LEGS, Leg

SUITE = Path(__file__).parent.relative_to(REPOSITORY)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case at one destination."""

    word: str
    """`passed`, `FAILED` or `not shown`."""
    seconds: float
    reason: str = ""


def main() -> int:
    """Run the legs that are named, or all; the exit code is 0 where none failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.destinations", description=__doc__)
    parser.add_argument("legs", nargs="*", metavar="LEG", help=f"of {', '.join(LEGS)}; default: all")
    parser.add_argument(
        "--real",
        action="store_true",
        help="load into the account whose credentials are in the environment, as DESTINATION__<NAME>__CREDENTIALS...",
    )
    options = parser.parse_args()
    if unknown := set(options.legs) - set(LEGS):
        parser.error(f"no such leg: {', '.join(sorted(unknown))}")
    legs = [LEGS[name] for name in options.legs or LEGS]
    if options.real and (not options.legs or any(leg.real is None for leg in legs)):
        parser.error(f"--real wants the legs named, of {', '.join(leg.name for leg in LEGS.values() if leg.real)}")

    table: dict[str, dict[str, Outcome]] = {}
    times: dict[str, float] = {}
    failed = False
    for leg in legs:
        started = time.monotonic()
        table[leg.name], code = _run(leg, is_real=options.real)
        times[leg.name] = time.monotonic() - started
        failed |= code != 0
    sys.stdout.write(f"{render(table, times, is_real=options.real)}\n")
    return int(failed)


def _run(leg: Leg, *, is_real: bool) -> tuple[dict[str, Outcome], int]:
    if leg.server_environment is not None:
        python_of(leg.server_environment)
    python = Path(sys.executable) if leg.environment is None else python_of(leg.environment)
    sys.stderr.write(f"== {leg.name}\n")
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as folder:
        report = Path(folder) / "report.xml"
        command = [str(python), "-m", "pytest", "-q", "--no-header", str(SUITE), f"--confcutdir={SUITE}"]
        command += [f"--destination={leg.name}", f"--junitxml={report}", "-p", "no:cacheprovider"]
        # DuckDB installs its extensions into the home folder, and an account may have its credentials there.
        environ = dict(os.environ) if is_real else os.environ | {"HOME": folder}
        code = subprocess.run(
            [*command, *(["--real"] if is_real else [])], cwd=REPOSITORY, env=environ, check=False
        ).returncode
        return (_outcomes(report) if report.exists() else {}), code


def _outcomes(report: Path) -> dict[str, Outcome]:
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - the report is our own
        name = case.attrib["name"].split("[")[0].removeprefix("test_")
        seconds = float(case.attrib["time"])
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcomes[name] = Outcome("FAILED", seconds)
        elif skipped is not None:
            outcomes[name] = Outcome("not shown", seconds, skipped.attrib.get("message", ""))
        else:
            outcomes[name] = Outcome("passed", seconds)
    return outcomes


def render(table: dict[str, dict[str, Outcome]], times: dict[str, float], *, is_real: bool) -> str:
    """Lay out destination x case as a Markdown table, and below it why a case is not shown."""
    cases = list(dict.fromkeys(case for outcomes in table.values() for case in outcomes))
    rows = [["case", *table], ["---"] * (len(table) + 1)]
    for case in cases:
        told = [outcomes.get(case, Outcome("not run", 0)) for outcomes in table.values()]
        rows.append([case.replace("_", " "), *(f"{o.word} {o.seconds:.1f} s".strip() for o in told)])
    rows.append(["whole leg", *(f"{times[leg]:.0f} s" for leg in table)])
    emulated = ["" if is_real else LEGS[leg].emulated or "" for leg in table]
    rows.append(["emulated by", *emulated])
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    reasons = [
        f"not shown: {leg}, {case.replace('_', ' ')}: {outcome.reason}"
        for leg, outcomes in table.items()
        for case, outcome in outcomes.items()
        if outcome.word == "not shown"
    ]
    return "\n".join(["", *lines, *([""] if reasons else []), *reasons])


if __name__ == "__main__":
    sys.exit(main())
