"""What the phone searches found and cost, read from the dbt models: `make notebook` opens it on made-up data.

On your own warehouse, change the line that connects; `marimo run` opens the page, `marimo edit` changes it.
The statements on the models run once; the filters act on what they returned.
"""

# ruff: noqa: PLR1711 - so marimo writes what nothing reads further down

import marimo

__generated_with = "0.25.2"
app = marimo.App(
    width="full",
    app_title="Enrow phone searches",
    sql_output="pandas",
)


@app.cell
def _():
    import os

    import altair as alt
    import duckdb
    import marimo as mo
    import pandas as pd

    return alt, duckdb, mo, os, pd


@app.cell
def _(duckdb, os):
    # Your warehouse: a connection of its driver, with the schema that dbt builds the models in as the default one.
    warehouse = duckdb.connect(os.environ.get("ENROW_WAREHOUSE", "warehouse.duckdb"), read_only=True).execute(
        "USE enrow"
    )
    return (warehouse,)


@app.cell
def _(mo, warehouse):
    searches_read = mo.sql(
        """
        SELECT
            fetched_date, campaign, country, search_kind,
            count(*) AS searches,
            sum(CASE WHEN is_found THEN 1 ELSE 0 END) AS found,
            sum(credits_claimed) AS credits
        FROM enrow__phone_searches
        GROUP BY fetched_date, campaign, country, search_kind
        """,
        engine=warehouse,
        output=False,
    )
    return (searches_read,)


@app.cell
def _(mo, warehouse):
    days_read = mo.sql(
        """
        SELECT fetched_date, campaign, credits_expected, credits_claimed
        FROM enrow__daily_credits
        """,
        engine=warehouse,
        output=False,
    )
    return (days_read,)


@app.cell
def _(mo, warehouse):
    repeated_read = mo.sql(
        """
        SELECT fetched_date, campaign, country, count(*) AS searches, sum(credits_claimed) AS credits
        FROM (
            SELECT
                searches.fetched_date, searches.campaign, searches.country, searches.credits_claimed,
                row_number() OVER (
                    PARTITION BY searches.person_key ORDER BY searches.fetched_at, searches.phone_search_key
                ) AS occurrence
            FROM enrow__phone_searches AS searches
            INNER JOIN enrow__duplicate_searches AS twice ON twice.person_key = searches.person_key
            WHERE searches.is_found
        ) AS paid
        WHERE occurrence > 1
        GROUP BY fetched_date, campaign, country
        """,
        engine=warehouse,
        output=False,
    )
    return (repeated_read,)


@app.cell
def _(mo, warehouse):
    attention_read = mo.sql(
        """
        SELECT
            batch_id, campaign, state, is_stuck, reconciliation, requested, finished, results_difference,
            credits_difference, last_error_kind, coalesce(fetched_at, last_error_at) AS last_fetched_at
        FROM enrow__batches
        WHERE needs_attention
        """,
        engine=warehouse,
        output=False,
    )
    return (attention_read,)


@app.cell
def _(mo, warehouse):
    submissions_read = mo.sql(
        """
        SELECT campaign, state, created_at, searches, results_received, found, credits_cost, credits_unknown
        FROM enrow__submissions
        """,
        engine=warehouse,
        output=False,
    )
    return (submissions_read,)


@app.cell
def _(mo, warehouse):
    submit_runs_read = mo.sql(
        """
        SELECT campaign, started_at, rows_read, rows_read - searches AS left_out_searches
        FROM stg_enrow__submit_runs
        WHERE searches IS NOT NULL
        """,
        engine=warehouse,
        output=False,
    )
    return (submit_runs_read,)


@app.cell
def _(mo, warehouse):
    balance_read = mo.sql(
        "SELECT checked_at, credits, command FROM stg_enrow__account_credits ORDER BY checked_at",
        engine=warehouse,
        output=False,
    )
    return (balance_read,)


@app.cell
def _(mo, warehouse):
    newest_read = mo.sql(
        "SELECT max(fetched_at) AS newest, max(account_credits_reading) AS reading FROM enrow__batches",
        engine=warehouse,
        output=False,
    )
    return (newest_read,)


@app.cell
def _(
    attention_read,
    balance_read,
    days_read,
    newest_read,
    pd,
    repeated_read,
    searches_read,
    submissions_read,
    submit_runs_read,
):
    # Drivers differ in what they return for dates, decimals and null; from here on all frames are alike.
    def alike(frame, texts=("campaign",)):
        numbers = frame.columns[
            frame.columns.str.contains("credits|found|results|searches|rows_read|requested|finished|difference")
        ]
        dates = frame.columns.intersection(["fetched_date"])
        frame[dates] = frame[dates].apply(pd.to_datetime).astype("datetime64[us]")
        frame[numbers] = frame[numbers].apply(pd.to_numeric).astype(float)
        for name in texts:
            frame[name] = frame[name].astype("string").fillna("none")
        return frame

    all_searches = alike(searches_read.copy(), ("campaign", "country", "search_kind"))
    all_days = alike(days_read.copy())
    all_repeated = alike(repeated_read.copy(), ("campaign", "country"))
    all_attention = alike(attention_read.copy())
    all_attention["last_fetched_at"] = pd.to_datetime(all_attention["last_fetched_at"], utc=True).dt.tz_localize(None)
    all_submissions = alike(submissions_read.copy())
    all_submissions["created_at"] = pd.to_datetime(all_submissions["created_at"], utc=True).dt.tz_localize(None)
    all_submit_runs = alike(submit_runs_read.copy())
    all_submit_runs["started_at"] = pd.to_datetime(all_submit_runs["started_at"], utc=True).dt.tz_localize(None)
    all_balances = alike(balance_read.copy(), ("command",)).dropna(subset=["credits"])
    all_balances["checked_at"] = pd.to_datetime(all_balances["checked_at"], utc=True).dt.tz_localize(None)
    newest_fetch = pd.to_datetime(newest_read["newest"], utc=True).iloc[0]
    credits_reading = newest_read["reading"].iloc[0]
    return (
        all_attention,
        all_balances,
        all_days,
        all_repeated,
        all_searches,
        all_submissions,
        all_submit_runs,
        credits_reading,
        newest_fetch,
    )


@app.cell
def _(all_days, all_searches, mo, newest_fetch, pd):
    mo.stop(pd.isna(newest_fetch), mo.callout("Nothing is loaded yet: run the pipeline, then dbt.", kind="warn"))
    _first, _last = all_days["fetched_date"].min().date(), all_days["fetched_date"].max().date()
    period = mo.ui.date_range(start=_first, stop=_last, value=(_first, _last), label="Period")
    campaigns = mo.ui.multiselect(sorted(all_days["campaign"].unique()), label="Campaigns")
    countries = mo.ui.multiselect(sorted(all_searches["country"].unique()), label="Countries")
    return campaigns, countries, period


@app.cell
def _(all_days, all_searches, campaigns, countries, pd, period):
    # Where none is chosen, all are.
    chosen_period = pd.DataFrame({"first": period.value[:1], "last": period.value[1:]}).astype("datetime64[us]")
    chosen_campaigns = pd.DataFrame({"campaign": campaigns.value or all_days["campaign"].unique()}, dtype="string")
    chosen_countries = pd.DataFrame({"country": countries.value or all_searches["country"].unique()}, dtype="string")
    return chosen_campaigns, chosen_countries, chosen_period


@app.cell
def _(all_searches, chosen_campaigns, chosen_period, mo):
    searches = mo.sql(
        """
        SELECT s.* FROM all_searches AS s, chosen_period AS p
        WHERE s.fetched_date BETWEEN p."first" AND p."last"
            AND s.campaign IN (SELECT campaign FROM chosen_campaigns)
        """,
        output=False,
    )
    return (searches,)


@app.cell
def _(chosen_countries, mo, searches):
    by_campaign = mo.sql(
        """
        SELECT campaign, sum(found) AS found, sum(credits) AS credits, sum(credits) / sum(found) AS credits_per_found
        FROM searches
        WHERE country IN (SELECT country FROM chosen_countries)
        GROUP BY campaign
        HAVING sum(found) > 0
        ORDER BY credits_per_found DESC, campaign
        """,
        output=False,
    )
    return (by_campaign,)


@app.cell
def _(chosen_countries, mo, searches):
    by_country = mo.sql(
        """
        SELECT country, sum(found) AS found, sum(credits) AS credits, sum(credits) / sum(found) AS credits_per_found
        FROM searches
        WHERE country IN (SELECT country FROM chosen_countries)
        GROUP BY country
        HAVING sum(found) > 0
        ORDER BY found DESC, country
        LIMIT 10
        """,
        output=False,
    )
    return (by_country,)


@app.cell
def _(mo, searches):
    by_week = mo.sql(
        """
        SELECT
            date_trunc('week', fetched_date)::TIMESTAMP AS week,
            CASE search_kind
                WHEN 'profile_url' THEN 'Profile URL' WHEN 'name_and_company' THEN 'Name and company' ELSE 'Other'
            END AS kind,
            sum(searches) AS searches,
            sum(found) / sum(searches) AS share_found
        FROM searches
        GROUP BY ALL
        ORDER BY week, kind
        """,
        output=False,
    )
    return (by_week,)


@app.cell
def _(all_days, chosen_campaigns, chosen_period, mo):
    bill_by_day = mo.sql(
        """
        SELECT
            d.fetched_date AS day,
            sum(d.credits_claimed) AS claimed,
            sum(d.credits_expected) AS expected,
            sum(d.credits_claimed) - sum(d.credits_expected) AS difference
        FROM all_days AS d, chosen_period AS p
        WHERE d.fetched_date BETWEEN p."first" AND p."last"
            AND d.campaign IN (SELECT campaign FROM chosen_campaigns)
        GROUP BY ALL
        ORDER BY day
        """,
        output=False,
    )
    return (bill_by_day,)


@app.cell
def _(all_repeated, chosen_campaigns, chosen_countries, chosen_period, mo):
    paid_again = mo.sql(
        """
        SELECT r.campaign, sum(r.searches) AS searches, sum(r.credits) AS credits
        FROM all_repeated AS r, chosen_period AS p
        WHERE r.fetched_date BETWEEN p."first" AND p."last"
            AND r.campaign IN (SELECT campaign FROM chosen_campaigns)
            AND r.country IN (SELECT country FROM chosen_countries)
        GROUP BY r.campaign
        ORDER BY credits DESC, r.campaign
        """,
        output=False,
    )
    return (paid_again,)


@app.cell
def _(all_attention, chosen_campaigns, chosen_period, mo):
    attention = mo.sql(
        """
        SELECT
            a.batch_id AS "Batch",
            CASE
                WHEN a.state = 'unreadable' THEN 'Cannot be read: ' || a.last_error_kind
                WHEN a.state = 'failed' THEN 'Failed'
                WHEN a.is_stuck AND a.finished >= a.requested THEN 'Stuck: all done, not ended'
                WHEN a.is_stuck THEN 'Stuck: pending for long'
                WHEN a.results_difference <> 0 THEN 'Results are missing'
                ELSE 'The bill disagrees'
            END AS "What is wrong",
            coalesce(printf('%+d', a.credits_difference::BIGINT), '') AS "Credits",
            strftime(a.last_fetched_at, '%d %b') AS "Seen"
        FROM all_attention AS a, chosen_period AS p
        WHERE a.last_fetched_at::DATE BETWEEN p."first"::DATE AND p."last"::DATE
            AND (a.state <> 'completed' OR a.campaign IN (SELECT campaign FROM chosen_campaigns))
        ORDER BY a.state = 'completed', a.last_fetched_at DESC
        """,
        output=False,
    )
    return (attention,)


@app.cell
def _(all_submissions, all_submit_runs, chosen_campaigns, chosen_period, mo):
    funnel = mo.sql(
        """
        SELECT
            campaign AS "Campaign",
            coalesce(sum(rows_read), 0)::BIGINT AS "Read",
            coalesce(sum(left_out), 0)::BIGINT AS "Left out",
            coalesce(sum(searches), 0)::BIGINT AS "Submitted",
            coalesce(sum(found), 0)::BIGINT AS "Found",
            coalesce(sum(credits_cost), 0)::BIGINT AS "Credits",
            coalesce(sum(credits_unknown), 0)::BIGINT AS "Perhaps spent"
        FROM (
            SELECT campaign, started_at AS moment, rows_read, left_out_searches AS left_out FROM all_submit_runs
            UNION ALL BY NAME
            SELECT campaign, created_at AS moment, searches, found, credits_cost, credits_unknown FROM all_submissions
        ) AS s, chosen_period AS p
        WHERE s.moment::DATE BETWEEN p."first"::DATE AND p."last"::DATE
            AND s.campaign IN (SELECT campaign FROM chosen_campaigns)
        GROUP BY campaign
        ORDER BY "Read" DESC, campaign
        """,
        output=False,
    )
    return (funnel,)


@app.cell
def _(all_balances, chosen_period, mo):
    balance = mo.sql(
        """
        SELECT b.* FROM all_balances AS b, chosen_period AS p
        WHERE b.checked_at::DATE BETWEEN p."first"::DATE AND p."last"::DATE
        ORDER BY b.checked_at
        """,
        output=False,
    )
    return (balance,)


@app.cell
def _(alt):
    ink, muted = "#1f2430", "#6b7280"
    blue, amber, red = "#3f5bd9", "#f0a03c", "#d64550"

    def plot(chart, title, subtitle):
        return chart.properties(
            width="container",
            height=200,
            usermeta={"embedOptions": {"actions": False}},
            title=alt.TitleParams(title, subtitle=subtitle, anchor="start", frame="group", offset=14),
        ).configure(
            background="white",
            padding={"left": 18, "right": 26, "top": 18, "bottom": 14},
            font="Inter, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif",
            view=alt.ViewConfig(stroke=None),
            title=alt.TitleConfig(
                fontSize=15, fontWeight=600, color=ink, subtitleFontSize=12, subtitleColor=muted, subtitlePadding=5
            ),
            axis=alt.AxisConfig(
                labelColor=muted,
                labelFontSize=11,
                labelPadding=8,
                titleColor=muted,
                titleFontSize=11,
                titleFontWeight=400,
                gridColor="#eceef2",
                domain=False,
                ticks=False,
            ),
            legend=alt.LegendConfig(
                orient="top", title=None, labelColor=ink, labelFontSize=11, symbolType="circle", offset=4
            ),
        )

    return blue, ink, muted, amber, red, plot


@app.cell
def _(blue, muted, amber, alt, by_week, plot):
    _colors = {"Profile URL": blue, "Name and company": amber, "Other": muted}
    _kinds = [kind for kind in _colors if kind in set(by_week["kind"])]
    _base = alt.Chart(by_week).encode(
        x=alt.X("week:T", title=None, axis=alt.Axis(format="%d %b", tickCount="week", grid=False)),
        y=alt.Y("share_found:Q", title=None, axis=alt.Axis(format=".0%", tickCount=5), scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("kind:N", scale=alt.Scale(domain=_kinds, range=[_colors[kind] for kind in _kinds])),
        tooltip=[
            alt.Tooltip("week:T", format="%d %b %Y", title="week of"),
            alt.Tooltip("kind:N"),
            alt.Tooltip("searches:Q", format=",.0f"),
            alt.Tooltip("share_found:Q", format=".1%", title="found"),
        ],
    )
    share_plot = plot(
        _base.mark_line(strokeWidth=2.5) + _base.mark_circle(size=55, opacity=1),
        "What share is found, by which kind of search?",
        "By week, in all countries: a search without a number has none",
    )
    return (share_plot,)


@app.cell
def _(blue, ink, alt, by_campaign, plot):
    _base = alt.Chart(by_campaign).encode(
        x=alt.X("credits_per_found:Q", title="credits for a found number", axis=alt.Axis(tickCount=5)),
        y=alt.Y("campaign:N", title=None, sort=list(by_campaign["campaign"])),
        tooltip=[
            alt.Tooltip("campaign:N"),
            alt.Tooltip("found:Q", format=",.0f"),
            alt.Tooltip("credits:Q", format=",.0f"),
            alt.Tooltip("credits_per_found:Q", format=".2f", title="credits for a number"),
        ],
    )
    cost_plot = plot(
        _base.mark_bar(color=blue, cornerRadiusEnd=3, size=22)
        + _base.mark_text(align="left", dx=6, color=ink).encode(text=alt.Text("credits_per_found:Q", format=".1f")),
        "What does a found number cost?",
        "Credits that the API claims for each number found, by campaign",
    )
    return (cost_plot,)


@app.cell
def _(alt, bill_by_day, blue, credits_reading, plot, red):
    _readings = {
        "net": "credits_cost is net of refunds",
        "gross": "credits_cost is gross: refunds are taken off",
        "both": "credits_cost is net in some batches, gross in others",
    }
    _parts = bill_by_day.assign(
        agreed=bill_by_day[["claimed", "expected"]].min(axis=1), beyond=bill_by_day["difference"].clip(lower=0)
    )
    _colors = alt.Scale(domain=["agrees with what arrived", "claimed beyond it"], range=[blue, red])
    _base = alt.Chart(_parts).transform_fold(["agreed", "beyond"], ["part", "credits"])
    bill_plot = plot(
        _base.transform_calculate(part=f"datum.part == 'agreed' ? '{_colors.domain[0]}' : '{_colors.domain[1]}'")
        .mark_bar(size=8)
        .encode(
            x=alt.X("day:T", title=None, axis=alt.Axis(format="%d %b", tickCount="week", grid=False)),
            y=alt.Y("credits:Q", title=None, axis=alt.Axis(format="~s", tickCount=5)),
            color=alt.Color("part:N", scale=_colors),
            order=alt.Order("part:N"),
            tooltip=[
                alt.Tooltip("day:T", format="%d %b %Y"),
                alt.Tooltip("claimed:Q", format=",.0f", title="credits claimed"),
                alt.Tooltip("expected:Q", format=",.0f", title="credits expected"),
                alt.Tooltip("difference:Q", format="+,.0f"),
            ],
        ),
        "Does the bill agree with what arrived?",
        f"Credits by day, beside numbers at the plan's price; {_readings.get(credits_reading, 'no refund yet')}",
    )
    return (bill_plot,)


@app.cell
def _(ink, amber, alt, paid_again, plot):
    _base = alt.Chart(paid_again).encode(
        x=alt.X("credits:Q", title="credits", axis=alt.Axis(tickCount=5, format=",d")),
        y=alt.Y("campaign:N", title=None, sort=list(paid_again["campaign"])),
        tooltip=[
            alt.Tooltip("campaign:N"),
            alt.Tooltip("searches:Q", format=",.0f"),
            alt.Tooltip("credits:Q", format=",.0f"),
        ],
    )
    again_plot = plot(
        _base.mark_bar(color=amber, cornerRadiusEnd=3, size=22)
        + _base.transform_calculate(message="format(datum.searches, ',d') + ' numbers'")
        .mark_text(align="left", dx=6, color=ink)
        .encode(text="message:N"),
        "Who was searched twice, and paid for twice?",
        "Credits for people whom an earlier search had found, by campaign",
    )
    return (again_plot,)


@app.cell
def _(blue, ink, alt, by_country, plot):
    _base = alt.Chart(by_country).encode(
        x=alt.X("found:Q", title="numbers found", axis=alt.Axis(tickCount=5, format=",d")),
        y=alt.Y("country:N", title=None, sort=list(by_country["country"])),
        tooltip=[
            alt.Tooltip("country:N"),
            alt.Tooltip("found:Q", format=",.0f"),
            alt.Tooltip("credits_per_found:Q", format=".2f", title="credits for a number"),
        ],
    )
    country_plot = plot(
        _base.mark_bar(color=blue, cornerRadiusEnd=3, size=16)
        + _base.transform_calculate(message="format(datum.credits_per_found, '.1f') + ' credits each'")
        .mark_text(align="left", dx=6, color=ink)
        .encode(text="message:N"),
        "Where are numbers found, and what does one cost?",
        "The ten countries with most numbers",
    )
    return (country_plot,)


@app.cell
def _(blue, alt, balance, plot):
    _base = alt.Chart(balance).encode(
        x=alt.X("checked_at:T", title=None, axis=alt.Axis(format="%d %b", tickCount="week", grid=False)),
        y=alt.Y("credits:Q", title=None, axis=alt.Axis(format="~s", tickCount=5), scale=alt.Scale(domainMin=0)),
        tooltip=[
            alt.Tooltip("checked_at:T", format="%d %b %Y %H:%M"),
            alt.Tooltip("credits:Q", format=",.0f"),
            alt.Tooltip("command:N"),
        ],
    )
    balance_plot = plot(
        _base.mark_line(color=blue, strokeWidth=2, interpolate="step-after")
        + _base.mark_circle(color=blue, size=40, opacity=1),
        "When do the credits run out?",
        "Credits of the account at each run, in all campaigns; what is held is not in it",
    )
    return (balance_plot,)


@app.cell
def _(bill_by_day, mo, newest_fetch, paid_again, pd, searches):
    _searched, _found, _credits = searches[["searches", "found", "credits"]].sum()
    _hours = (pd.Timestamp.now("UTC") - newest_fetch).total_seconds() / 3600
    _message = {
        "Searches": (f"{_searched:,.0f}", "in completed batches"),
        "Found": (f"{_found / max(_searched, 1):.0%}", f"{_found:,.0f} numbers"),
        "A found number": (f"{_credits / max(_found, 1):.1f}", "credits"),
        "Bill less arrived": (f"{bill_by_day['difference'].sum():+,.0f}", "credits"),
        "Paid twice": (f"{paid_again['credits'].sum():,.0f}", "credits"),
        "Last answer": (f"{_hours:.0f} h" if _hours < 48 else f"{_hours / 24:.0f} days", "ago"),
    }
    figures = mo.hstack(
        [mo.stat(value, label=label, caption=caption, bordered=True) for label, (value, caption) in _message.items()],
        widths="equal",
        gap=0.75,
    )
    return (figures,)


@app.cell
def _(
    again_plot,
    attention,
    balance_plot,
    bill_plot,
    campaigns,
    cost_plot,
    countries,
    country_plot,
    figures,
    funnel,
    mo,
    period,
    share_plot,
):
    def cards(contents):
        style = "min-width: 0; overflow: hidden; border: 1px solid #e5e7eb; border-radius: 10px; background: white"
        cells = "".join(f'<div style="{style}">{mo.as_html(content).text}</div>' for content in contents)
        columns = "repeat(auto-fit, minmax(min(100%, 26rem), 1fr))"
        return mo.Html(f'<div style="display: grid; grid-template-columns: {columns}; gap: 0.75rem">{cells}</div>')

    def table(question, rows):
        shown = mo.ui.table(
            rows,
            selection=None,
            page_size=5,
            show_column_summaries=False,
            show_data_types=False,
            show_download=False,
            show_search=False,
        )
        return mo.vstack([mo.md(f"**{question}**"), shown]).style(padding="14px 18px")

    _batches = table("Which batches need attention?", attention)
    _funnel = table("What became of who was submitted?", funnel)
    mo.vstack(
        [
            mo.md("# Enrow phone searches"),
            mo.hstack([period, campaigns, countries], justify="start", gap=1.5, wrap=True),
            figures,
            cards([share_plot, cost_plot, bill_plot, again_plot, country_plot, _batches, _funnel, balance_plot]),
        ],
        gap=0.75,
    ).style(max_width="1180px", margin="0 auto")
    return


if __name__ == "__main__":
    app.run()
