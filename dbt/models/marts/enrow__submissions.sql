with
submissions as (
    select * from {{ ref('stg_enrow__submissions') }}
),

batches as (
    select * from {{ ref('enrow__batches') }}
),

joined as (
    select
        submissions.submission_id,
        submissions.state,
        submissions.batch_id,
        submissions.campaign,
        submissions.searches,
        submissions.credits_reserved,
        -- What the API held, or may hold; where it does not say, what was estimated.
        case
            when submissions.state in ('refused', 'cancelled') then 0
            else coalesce(submissions.credits_held, submissions.credits_reserved)
        end as credits_held,
        batches.state as batch_state,
        coalesce(batches.state in ('completed', 'failed'), false) as is_over,
        batches.results_received,
        batches.found_received,
        batches.credits_claimed,
        batches.credits_to_refund,
        submissions.http_status,
        submissions.message,
        submissions.created_at,
        submissions.ended_at
    from submissions
    left join batches on submissions.batch_id = batches.batch_id and submissions.state = 'accepted'
),

billed as (
    select
        joined.*,
        case
            when state in ('refused', 'cancelled') then 0
            when is_over then credits_claimed
        end as cost,
        case
            when state in ('refused', 'cancelled') then 0
            when is_over then coalesce(credits_to_refund, credits_held - credits_claimed)
        end as refunded
    from joined
)

select
    submission_id,
    state,
    batch_id,
    batch_state,
    campaign,
    searches,
    case when state in ('refused', 'cancelled') then 0 when is_over then results_received end as results_received,
    case when state in ('refused', 'cancelled') then 0 when is_over then found_received end as found,
    cast(credits_reserved as {{ dbt.type_numeric() }}) as credits_reserved,
    cast(credits_held as {{ dbt.type_numeric() }}) as credits_held,
    cast(cost as {{ dbt.type_numeric() }}) as credits_cost,
    cast(refunded as {{ dbt.type_numeric() }}) as credits_refunded,
    cast(case when cost is null then credits_held else 0 end as {{ dbt.type_numeric() }}) as credits_unknown,
    cast(credits_held - cost - refunded as {{ dbt.type_numeric() }}) as credits_difference,
    state in ('intended', 'unknown') as is_unknown,
    http_status,
    message,
    created_at,
    ended_at
from billed
