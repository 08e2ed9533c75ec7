"""What the phone searches found: read it with `marimo run notebooks/phone_bulk.py`, change it with `marimo edit`."""

# ruff: noqa: F841, PLR1711 - so marimo writes what nothing reads further down

import marimo

__generated_with = "0.25.2"
app = marimo.App(
    width="medium",
    app_title="Enrow phone searches",
    sql_output="pandas",
)


@app.cell
def _():
    import os
    from pathlib import Path

    import altair as alt
    import duckdb
    import marimo as mo

    return Path, alt, duckdb, mo, os


@app.cell
def _(Path, duckdb, mo, os):
    # The warehouse: `-- --warehouse FILE` after the name of the notebook, ENROW_WAREHOUSE, or what the pipeline writes.
    warehouse = Path(mo.cli_args().get("warehouse") or os.environ.get("ENROW_WAREHOUSE") or "warehouse.duckdb")
    connection = duckdb.connect(warehouse, read_only=True) if warehouse.is_file() else duckdb.connect()
    return connection, warehouse


@app.cell
def _(connection, mo, warehouse):
    _tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'enrow_data'").fetchall()
    _missing = {"batches", "batch_stats", "phone_results", "batch_errors"} - {name for (name,) in _tables}
    mo.stop(
        bool(_missing),
        mo.callout(
            mo.md(
                f"Nothing is loaded yet into `{warehouse}`: no {', '.join(sorted(_missing))} in schema `enrow_data`."
                " Run the pipeline first, `.venv/bin/python pipelines/phone_bulk.py BATCH_ID ...`; or `make demo`, and"
                " open this page with `ENROW_WAREHOUSE=demo/warehouse.duckdb`."
            ),
            kind="warn",
        ),
    )
    loaded = connection
    mo.md(
        f"# Enrow phone searches\nFrom `{warehouse}`. Close this page before the next load:"
        " DuckDB lets a file have many readers or one writer."
    )
    return (loaded,)


@app.cell
def _(mo):
    mo.md("""
    ## Found share and credits by batch
    """)
    return


@app.cell
def _(loaded, mo):
    by_batch = mo.sql(
        """
        SELECT
            batch_id,
            results_received AS searches,
            found_received AS found,
            found_received / nullif(results_received, 0) AS found_share,
            credits_cost::DOUBLE AS credits,
            credits_to_refund::DOUBLE AS credits_refunded,
            credits_cost::DOUBLE / nullif(found_received, 0) AS credits_per_phone,
            fetched_at
        FROM enrow_data.batch_stats
        WHERE status = 'completed'
        ORDER BY fetched_at DESC, batch_id
        """,
        engine=loaded,
    )
    return (by_batch,)


@app.cell
def _(by_batch, mo):
    total = by_batch[["searches", "found", "credits"]].sum()
    mo.hstack(
        [
            mo.stat(len(by_batch), label="batches completed"),
            mo.stat(int(total["searches"]), label="searches"),
            mo.stat(f"{total['found'] / max(total['searches'], 1):.0%}", label="found"),
            mo.stat(f"{total['credits']:,.10g}", label="credits"),
        ]
    )
    return


@app.cell
def _(mo):
    mo.md("""
    ## Phones by country
    """)
    return


@app.cell
def _(loaded, mo):
    by_country = mo.sql(
        """
        SELECT coalesce(country, 'not told') AS country, count(*) AS phones, count(DISTINCT batch_id) AS batches
        FROM enrow_data.phone_results
        WHERE qualification = 'found'
        GROUP BY ALL
        ORDER BY phones DESC, country
        """,
        engine=loaded,
    )
    return (by_country,)


@app.cell
def _(alt, by_country):
    alt.Chart(by_country).mark_bar().encode(x="phones:Q", y=alt.Y("country:N", sort="-x"))
    return


@app.cell
def _(mo):
    mo.md("""
    ## Still ongoing, as of the last run
    """)
    return


@app.cell
def _(loaded, mo):
    ongoing = mo.sql(
        """
        SELECT batch_id, b.status, s.finished, s.requested, b.fetched_at AS last_look
        FROM enrow_data.batches AS b
        LEFT JOIN enrow_data.batch_stats AS s USING (batch_id)
        WHERE b.status NOT IN ('completed', 'failed')
        ORDER BY last_look, batch_id
        """,
        engine=loaded,
    )
    return


@app.cell
def _(mo):
    mo.md("""
    ## Cannot be read now
    """)
    return


@app.cell
def _(loaded, mo):
    unreadable = mo.sql(
        """
        SELECT
            e.batch_id,
            min(e.fetched_at) AS since,
            max(e.fetched_at) AS last_tried,
            count(*) AS tries,
            max_by(e.kind, e.fetched_at) AS kind,
            max_by(e.message, e.fetched_at) AS message
        FROM enrow_data.batch_errors AS e
        LEFT JOIN enrow_data.batches AS b ON b.batch_id = e.batch_id
        WHERE b.batch_id IS NULL OR e.fetched_at > b.fetched_at
        GROUP BY e.batch_id
        ORDER BY since, e.batch_id
        """,
        engine=loaded,
    )
    return


if __name__ == "__main__":
    app.run()
