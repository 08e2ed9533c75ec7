"""The table that is printed, and `results.json`: medians and ratios, the machine, the versions, no names or paths."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from .environments import versions
from .workloads import Figure, Outcome

RESULTS: Final = Path(__file__).with_name("results.json")


def table(figures: Sequence[Figure], *, judge: bool) -> str:
    """Set the figures as a table; `judge` marks those that do not reach their target."""
    rows = [("workload", "measure", "target", "got")]
    for figure in figures:
        got = shown(figure) + (" missed" if judge and not figure.is_met else "")
        rows.append((figure.workload, figure.measure, f"{figure.bound} {figure.target:g} {figure.unit}".strip(), got))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * (sum(widths) + 6), *lines[1:]])


def save_outcome(size: str, name: str, outcome: Outcome) -> None:
    """Put what a workload gave in the place of what it gave before."""
    results = _read()
    measured = results.setdefault(size, {})
    measured["machine"] = machine()
    measured["versions"] = {f"DuckDB {duckdb}": versions(duckdb) for duckdb in ("1.5", "2.0")}
    measured.setdefault("workloads", {})[name] = {
        "figures": [asdict(figure) | {"got": round(figure.got, 3)} for figure in outcome.figures],
        "medians": {what: asdict(medians) for what, medians in outcome.medians.items()},
    }
    _write(results)


def save_profile(profile: dict[str, Any]) -> None:
    """Put the profile in the place of the last one."""
    _write(_read() | {"profile": profile})


def machine() -> dict[str, Any]:
    """Tell what it ran on, without telling which one."""
    model = ""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
    }


def tell(text: str) -> None:
    """Write a line to standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def shown(figure: Figure) -> str:
    """Write what a figure came to, with its unit."""
    digits = 0 if figure.unit in ("MB", "ms") or figure.got == int(figure.got) else 2
    return f"{figure.got:,.{digits}f} {figure.unit}".strip()


def _read() -> dict[str, Any]:
    if not RESULTS.exists():
        return {}
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return results


def _write(results: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
