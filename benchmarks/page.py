"""Writes what was measured into the documentation: `python -m benchmarks.page`, from `results.json` alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import Any, Final

from .environments import REPOSITORY
from .report import RESULTS, shown
from .workloads import Figure

PAGE: Final = REPOSITORY / "docs" / "performance.md"
README: Final = REPOSITORY / "README.md"
MARKS: Final = re.compile(
    r"(?<=<!-- speed: made by `python -m benchmarks\.page` -->\n).*?(?=<!-- /speed -->)", re.DOTALL
)

_PARTS: Final = {
    "import": "importing dlt and this package",
    "start": "pipeline and source, the state at the destination",
    "download": "requests and bodies",
    "parse": "JSON to checked columns",
    "shape": "columns to Arrow",
    "extract": "dlt's part of extracting: parquet files",
    "normalise": "dlt has nothing to rewrite in parquet",
    "load": "DuckDB reads the file into the table",
    "merge": "DuckDB replaces batches that were loaded before: none here",
    "rest": "everything else",
}

_OF_POSTGRES: Final = """The command reads its ids from a file. Its cursor moves with a new id, and dlt stores it in the
state. The command also writes a row of `enrow_runs` and one of `account_credits`."""

_OF_ONE_RUN: Final = """The source imports requests and parquet, loads four tables and a ledger, and asks which
submitted batches are not loaded: the second statement. The command also locks its files, reads the ids through dlt's
filesystem source, asks for the balance and writes the row of `enrow_runs`. dlt resolves its configuration again for
each client and step."""

_OBSTACLES: Final = {
    "Postgres, one new batch into 3 known": _OF_POSTGRES,
    "Postgres, an ongoing batch again, nothing changed": _OF_POSTGRES,
    "400 x 3,000": "The script loads from memory, and this source from a file that it has written before.",
    "20 x 3,000": "An empty dlt run alone takes longer than all of the floor.",
    "one new batch, 10,000 known": _OF_ONE_RUN,
    "nothing new, 10,000 known": _OF_ONE_RUN,
    "Postgres, 60,000 new rows": "dlt turns parquet into CSV, and an empty dlt run alone costs more than the COPY.",
    "100 x 3,000": "The `rest_api` source loads one table. This one loads four and its ledger, each from its own file.",
    "1,600 x 3,000": "Without a limit DuckDB takes memory while there is some. `run()` sets one for its warehouse.",
    "nothing new, 1,000,000 known": """DuckDB compares three tables of a million ids, and takes memory for that. The
command reads a file of a million lines, each of which dlt takes through the steps of a resource.""",
}
"""What stands in the way of a target, by workload."""

_NOT_KNOWN: Final = "It is not known yet: `python -m benchmarks.profile` shows where the time goes."


def main() -> None:
    """Write the page and the README's paragraph."""
    results = read_results()
    PAGE.write_text(page(results), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    README.write_text(MARKS.sub(lambda _: paragraph(results), text), encoding="utf-8")


def read_results() -> Mapping[str, Any] | None:
    """Read what `make bench` measured; None where nothing is kept of this version."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else None


def paragraph(results: Mapping[str, Any] | None) -> str:
    """Return what the README says of speed."""
    if results is None:
        text = """`make bench` measures this source side by side with dlt's `rest_api` source, with a script of
requests and pandas, and with a bare floor. [Performance](docs/performance.md) has what was measured of this version."""
        return f"{_wrapped(' '.join(text.split()))}\n"
    figure, medians = _figures(results), results["full"]["workloads"]["floor"]["medians"]
    taught = figure["100 x 3,000", "CPU, rest_api as taught / ours"]
    tuned = figure["100 x 3,000", "CPU, rest_api tuned / ours"]
    growth = figure["1,600 x 3,000", "peak memory, ours / that of 400 x 3,000"]
    text = f"""Measured side by side on {results["full"]["machine"]["cores"]} cores, as ratios of CPU time, into DuckDB:
dlt's declarative `rest_api` source takes {taught.got:.1f} times as much as this one as its documentation teaches it,
and {tuned.got:.1f} times as much when tuned. 1.2 million results take {medians["ours"]["peak_mb"]:.0f} MB at most, four
times as many {growth.got:.2f} times that. `make bench` measures again. [Performance](docs/performance.md)"""
    return f"{_wrapped(' '.join(text.split()))}\n"


def page(results: Mapping[str, Any] | None) -> str:
    """Return `docs/performance.md`."""
    if results is None:
        return """# Performance

No figures are kept of this version. `make bench` measures it and writes this page: every batch has other people, each
program runs in a process of its own, one after another, and its rows, keys and sums are checked before a time counts.
`make bench WORKLOADS="floor nothing_new"` measures some of it.
"""
    full, profile = results["full"], results["profile"]
    machine, workloads = full["machine"], full["workloads"]
    rounds = min(medians["runs"] for outcome in workloads.values() for medians in outcome["medians"].values())
    versions = "; ".join(
        f"{name}: " + ", ".join(f"{package} {version}" for package, version in found.items())
        for name, found in full["versions"].items()
    )
    figures = [
        (f.workload, f.measure, f"{f.bound} {f.target:g} {f.unit}".strip(), shown(f), "yes" if f.is_met else "**no**")
        for f in _figures(results).values()
    ]
    ran = [
        (workload, what, f"{m['cpu_s']:.2f} s", f"{m['wall_s']:.2f} s", f"{m['peak_mb']:,.0f} MB")
        for workload, outcome in workloads.items()
        for what, m in outcome["medians"].items()
    ]
    parts = [
        (part, meaning, f"{profile['cpu_s'][part]:.2f} s", f"{profile['per_cent'][part]:.0f}%")
        for part, meaning in _PARTS.items()
    ]
    one_s = workloads["waiting"]["medians"]["ours, 1 batch without latency"]["cpu_s"]
    ours_100_s = workloads["rest_api"]["medians"]["ours"]["cpu_s"]
    new_s, empty_s = (workloads["nothing_new"]["medians"][name]["cpu_s"] for name in ("ours", "empty_dlt"))
    import_ms = workloads["importing"]["figures"][0]["got"]
    duckdb = profile["per_cent"]["load"] + profile["per_cent"]["merge"]
    return _wrapped(f"""# Performance

`make bench` writes this page. It loads from a server on loopback that answers with prepared bytes. Each program runs in
a process of its own, one after another, at least {rounds} times, and its rows, keys and sums are checked before a time
counts. The figures are medians; CPU is user and system time of the whole process. {machine["cores"]} cores
({machine["cpu"]}), {machine["memory_gb"]} GB, {machine["system"]}. {versions}.

## Figures

{_table(("workload", "measure", "target", "measured", "reached"), figures)}

- **ours** is the source in a plain dlt pipeline, with dlt's own settings and its `duckdb` destination.
- **ours_command** is the command, with the default warehouse and settings that it brings; it also writes the row of
  `enrow_runs`.
- **rest_api** is dlt's declarative source, as its documentation teaches it, and tuned (in parallel, as parquet).
- **analyst** is a script with requests, `json_normalize` and DuckDB from a frame, one batch after another.
- **floor** is keep-alive threads, msgspec, Arrow and one transaction in DuckDB: no framework, no checks, no ledger.

Every batch has other people. Half of the batches have a reference of the submitter's in each search. The numbers are of
the 80,000 that are kept for fiction.

{_missed(results)}## Where the CPU time goes

CPU of {profile["workload"]} results, by part:

{_table(("part", "what it is", "CPU", "share"), parts)}

{duckdb:.0f}% of the CPU is spent in DuckDB. New batches are appended, so each row is written once there, as by the
floor; it is also written to a file before.

The remaining difference is the fixed cost of a run: {one_s:.2f} s for a single batch, of {ours_100_s:.2f} s for 100
full ones. A run that finds nothing new takes {new_s - empty_s:.2f} s more CPU than an empty one: {import_ms:.0f} ms to
import the package, the rest for four resources instead of one, the ids, and the statements on ledger, submissions and
erasures.

## Memory

![Resident memory while loading 1,600 batches](memory.svg)

Before the load, memory holds the batches in progress, as many as there are connections, and a table of 60,000 rows.
During the load it is DuckDB's memory, limited by the settings that `run()` brings for the default warehouse.

## Runs

{_table(("workload", "program", "CPU", "wall", "peak memory"), ran)}
""")


def _missed(results: Mapping[str, Any]) -> str:
    """Say of the workloads whose targets are not all reached what stands in the way."""
    missed: dict[str, list[str]] = {}
    for workload in dict.fromkeys(figure.workload for figure in _figures(results).values() if not figure.is_met):
        missed.setdefault(_OBSTACLES.get(workload, _NOT_KNOWN), []).append(f"**{workload}**")
    items = [
        fill(f"- {' and '.join(workloads)}: {' '.join(text.split())}", 120, subsequent_indent="  ")
        for text, workloads in missed.items()
    ]
    return "\n".join(["### What stands in the way of the others\n", *items, "\n"]) if items else ""


def _wrapped(text: str) -> str:
    """Wrap the paragraphs again: the numbers in them differ in length."""
    blocks = text.split("\n\n")
    return "\n\n".join(
        block if block.lstrip()[0] in "#|!-" else fill(block, 120, break_long_words=False, break_on_hyphens=False)
        for block in blocks
    )


def _figures(results: Mapping[str, Any]) -> dict[tuple[str, str], Figure]:
    found = [Figure(**figure) for outcome in results["full"]["workloads"].values() for figure in outcome["figures"]]
    return {(figure.workload, figure.measure): figure for figure in found}


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
