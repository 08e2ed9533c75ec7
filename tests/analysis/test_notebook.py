"""The analysis page: made with its demo data by make, run as a script, and its filters tried. Needs dbt's environment.

What it makes of the models on DuckDB and on Postgres is in test_dbt.py.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pandas as pd  # type: ignore[import-untyped] # it has no types
import pytest

from notebooks.phone_bulk_analysis import app
from tests.support import REPOSITORY

pytestmark = pytest.mark.timeout(600)  # the first run installs dbt


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the demo data and its models as `make notebook` does."""
    file = tmp_path_factory.mktemp("analysis") / "analysis.duckdb"
    env = {name: value for name, value in os.environ.items() if name not in ("ENROW_WAREHOUSE", "DLT_DATA_DIR")}
    made = subprocess.run(
        [shutil.which("make") or "make", "--silent", str(file), f"ANALYSIS={file}"],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert made.returncode == 0, f"{made.stdout}{made.stderr}"
    return file


def opened(warehouse: Path, **overrides: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Run the page; return what its cells show, and what they define."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        shown, defined = app.run(defs={"warehouse": connection.execute("USE enrow"), **overrides})
    return shown, defined


def asked(warehouse: Path, statement: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return connection.execute(f"USE enrow; {statement}").fetchall()


def filters(defined: Mapping[str, Any], **chosen: Any) -> dict[str, Any]:
    """Choose in the filters, as a person would; what is not named stays as it is when the page opens."""
    names = ("period", "campaigns", "countries")
    return {name: SimpleNamespace(value=chosen.get(name, defined[name].value)) for name in names}


def test_it_runs_as_a_script(warehouse: Path) -> None:
    """It runs as a script on the file that the environment names."""
    command = [str(REPOSITORY / ".venv" / "bin" / "python"), "notebooks/phone_bulk_analysis.py"]
    env = os.environ | {"ENROW_WAREHOUSE": str(warehouse)}
    ended = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    missing = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=env | {"ENROW_WAREHOUSE": f"{warehouse}.none"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert missing.returncode != 0
    assert f"{warehouse}.none" in missing.stderr


def test_figures_are_those_of_the_models(warehouse: Path) -> None:
    """The page has six plots, and every figure is that of the models."""
    shown, defined = opened(warehouse)
    plots = [name for name, value in defined.items() if type(value).__module__.startswith("altair.vegalite")]
    assert sorted(plots) == [
        "again_plot",
        "balance_plot",
        "bill_plot",
        "cost_plot",
        "country_plot",
        "share_plot",
    ]
    assert [name for name in plots if unknown_fields(defined[name].to_dict())] == []
    ((searches, found, claimed),) = asked(
        warehouse,
        "SELECT count(*), count_if(is_found), sum(credits_claimed)::DOUBLE FROM enrow__phone_searches",
    )
    assert tuple(defined["searches"][["searches", "found", "credits"]].sum()) == pytest.approx(
        (searches, found, claimed)
    )
    ((again,),) = asked(warehouse, "SELECT sum(credits_claimed_again)::DOUBLE FROM enrow__duplicate_searches")
    assert defined["paid_again"]["credits"].sum() == pytest.approx(again)
    ((difference,),) = asked(warehouse, "SELECT sum(credits_difference)::DOUBLE FROM enrow__daily_credits")
    assert defined["bill_by_day"]["difference"].sum() == pytest.approx(difference)
    attention = asked(warehouse, "SELECT batch_id FROM enrow__batches WHERE needs_attention")
    assert {(batch_id,) for batch_id in defined["attention"]["Batch"]} == set(attention)
    countries = asked(warehouse, "SELECT country, found, credits_per_found FROM enrow__coverage_by_country")
    message = {(c, f): per for c, f, per in countries if f}
    by_country = defined["by_country"].set_index(["country", "found"])["credits_per_found"].to_dict()
    assert by_country == pytest.approx(message, abs=1e-3)
    page = str(shown[-1].text)
    assert f"{searches:,}" in page
    assert f"{again:,.0f}" in page


def unknown_fields(plot: Mapping[str, Any]) -> list[str]:
    """Return the texts in a plot that are read from a field which is neither in its data nor computed."""
    (rows,) = plot["datasets"].values()
    known = {*rows[0]}
    texts = []
    for layer in plot.get("layer", ()):
        known |= {transform["as"] for transform in layer.get("transform", ()) if isinstance(transform["as"], str)}
        texts += [layer["encoding"]["text"]["field"]] if "text" in layer["encoding"] else []
    return [name for name in texts if name not in known]


def test_the_funnel_and_the_balance(warehouse: Path) -> None:
    """How many were read, left out, submitted, found; what it cost; and the balance at each run."""
    _, defined = opened(warehouse)
    models = asked(
        warehouse,
        "SELECT campaign, any_value(rows_read), any_value(left_out), sum(searches), sum(found), sum(credits_cost),"
        " sum(credits_unknown) FROM enrow__submissions JOIN (SELECT campaign, sum(rows_read) AS rows_read,"
        " sum(rows_read - searches) AS left_out FROM stg_enrow__submit_runs GROUP BY campaign) USING (campaign)"
        " GROUP BY campaign",
    )
    assert {tuple(row) for row in defined["funnel"].itertuples(index=False)} == set(models)
    assert len(models) == 4
    assert defined["funnel"]["Perhaps spent"].sum() > 0
    assert defined["funnel"]["Left out"].sum() > 0
    balances = asked(warehouse, "SELECT credits::DOUBLE FROM stg_enrow__account_credits ORDER BY checked_at")
    assert list(defined["balance"]["credits"]) == [left for (left,) in balances]
    assert len(balances) == 2 * 8 + 1


def test_the_filters_by_period_campaign_and_country(warehouse: Path) -> None:
    _, defined = opened(warehouse)
    chosen = filters(defined, campaigns=["Partner list"], countries=["CA"])
    _, filtered = opened(warehouse, **chosen)
    ((found, per_found),) = asked(
        warehouse,
        "SELECT count(*), avg(credits_claimed)::DOUBLE FROM enrow__phone_searches"
        " WHERE is_found AND campaign = 'Partner list' AND country = 'CA'",
    )
    (row,) = filtered["by_campaign"].to_dict("records")
    assert (row["campaign"], row["found"]) == ("Partner list", found)
    assert row["credits_per_found"] == pytest.approx(per_found)
    assert list(filtered["by_country"]["country"]) == ["CA"]
    # What was not found has no country, so the share is of all of them.
    ((searches,),) = asked(warehouse, "SELECT count(*) FROM enrow__phone_searches WHERE campaign = 'Partner list'")
    assert filtered["by_week"]["searches"].sum() == searches

    days = [day for (day,) in asked(warehouse, "SELECT DISTINCT fetched_date FROM enrow__daily_credits ORDER BY ALL")]
    period: tuple[date, date] = (days[2], days[5])
    _, filtered = opened(warehouse, **filters(defined, period=period))
    assert (filtered["bill_by_day"]["day"].min(), filtered["bill_by_day"]["day"].max()) == tuple(
        map(pd.Timestamp, period)
    )


def test_before_anything_is_loaded_it_says_what_to_run(warehouse: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{warehouse}' (READ_ONLY)")  # by its own name, which the views have
        models = ("phone_searches", "daily_credits", "duplicate_searches", "batches", "submissions")
        for model in (*(f"enrow__{name}" for name in models), "stg_enrow__account_credits", "stg_enrow__submit_runs"):
            connection.execute(f"CREATE TABLE {model} AS FROM {warehouse.stem}.enrow.{model} LIMIT 0")
        shown, _ = app.run(defs={"warehouse": connection})
    assert "run the pipeline, then dbt" in " ".join(str(getattr(output, "text", output)) for output in shown)
