with
batches as (
    select * from {{ ref('stg_enrow__batches') }}
),

stats as (
    select * from {{ ref('stg_enrow__batch_stats') }}
),

results as (
    select
        batch_id,
        count(*) as result_rows,
        {{ enrow.count_where("qualification = 'found'") }} as found_rows
    from {{ ref('stg_enrow__phone_results') }}
    group by batch_id
),

numbered_errors as (
    select
        batch_id,
        kind,
        fetched_at,
        count(*) over (partition by batch_id) as errors,
        row_number() over (partition by batch_id order by fetched_at desc) as from_last
    from {{ ref('stg_enrow__batch_errors') }}
),

last_errors as (
    select batch_id, kind, fetched_at, errors from numbered_errors where from_last = 1
),

fetches as (
    select batch_id, fetched_at from batches
    union all
    select batch_id, fetched_at from last_errors
),

-- A batch that could never be read is in batch_errors alone.
ids as (
    select batch_id from fetches group by batch_id
),

newest as (
    select max(fetched_at) as fetched_at from fetches
),

joined as (
    select
        ids.batch_id,
        batches.status,
        batches.custom,
        batches.campaign,
        stats.requested,
        stats.finished,
        stats.found,
        stats.results_received,
        stats.found_received,
        coalesce(stats.results_loaded, 0) as results_loaded,
        coalesce(results.result_rows, 0) as result_rows,
        coalesce(results.found_rows, 0) as found_rows,
        stats.credits_cost,
        stats.credits_to_refund,
        stats.credits_reading,
        stats.account_credits_reading,
        stats.credits_claimed,
        coalesce(batches.status in ('completed', 'failed'), false) as is_ended,
        coalesce(last_errors.errors, 0) as errors,
        last_errors.kind as last_error_kind,
        last_errors.fetched_at as last_error_at,
        batches.first_seen_at,
        batches.fetched_at,
        newest.fetched_at as newest_fetch_at
    from ids
    cross join newest
    left join batches on ids.batch_id = batches.batch_id
    left join stats on ids.batch_id = stats.batch_id
    left join results on ids.batch_id = results.batch_id
    left join last_errors on ids.batch_id = last_errors.batch_id
),

-- Differences are claimed less arrived, and null where the API claims nothing or it is too early to tell.
compared as (
    select
        joined.*,
        case when status = 'completed' then requested - results_received end as results_difference,
        case when is_ended then found - found_received end as found_difference,
        results_loaded - result_rows as rows_difference,
        case when status = 'completed' then results_received - results_loaded end as results_left_out,
        case
            when is_ended then cast(found_received * {{ var('enrow_credits_per_found') }} as {{ dbt.type_numeric() }})
        end as credits_expected
    from joined
),

judged as (
    select
        compared.*,
        cast(credits_claimed - credits_expected as {{ dbt.type_numeric() }}) as credits_difference,
        case
            when fetched_at is null or last_error_at > fetched_at then 'unreadable'
            when status in ('completed', 'failed') then status
            else 'in_progress'
        end as state,
        coalesce(
            not is_ended and fetched_at is not null
            and (
                (requested > 0 and finished >= requested)
                or {{ dbt.datediff('coalesce(first_seen_at, fetched_at)', 'newest_fetch_at', 'minute') }}
                > 60 * {{ var('enrow_stuck_after_hours') }}
            ),
            false
        ) as is_stuck
    from compared
),

reconciled as (
    select
        judged.*,
        case
            when not is_ended and rows_difference = 0 then 'not_ended'
            when
                coalesce(results_difference, 0) <> 0
                or coalesce(found_difference, 0) <> 0
                or rows_difference <> 0
                or coalesce(credits_difference, 0) <> 0
                then 'disagrees'
            when
                found_difference is null
                or credits_difference is null
                or (status = 'completed' and results_difference is null)
                then 'not_claimed'
            else 'agrees'
        end as reconciliation
    from judged
)

select
    batch_id,
    state,
    status,
    custom,
    campaign,
    requested,
    finished,
    results_received,
    results_difference,
    results_loaded,
    results_left_out,
    result_rows,
    rows_difference,
    found,
    found_received,
    found_rows,
    found_difference,
    credits_cost,
    credits_to_refund,
    credits_reading,
    account_credits_reading,
    credits_claimed,
    credits_expected,
    credits_difference,
    reconciliation,
    is_stuck,
    (state in ('failed', 'unreadable') or is_stuck or reconciliation = 'disagrees') as needs_attention,
    errors,
    last_error_kind,
    last_error_at,
    first_seen_at,
    fetched_at
from reconciled
