with
stats as (
    select * from {{ source('enrow', 'batch_stats') }}
),

ledger as (
    select * from {{ source('enrow', 'phone_results_ledger') }}
),

-- The API does not document whether credits_cost is net of credits_to_refund. Its own counts say it, whatever a number
-- costs: a net cost is to the refund as what was found is to what was not, a gross one as all is.
doubles as (
    select
        batch_id,
        {%- for column in ['requested', 'found', 'found_received', 'credits_cost'] %}
        cast({{ column }} as {{ enrow.type_double() }}) as {{ column }},
        {%- endfor %}
        cast(credits_to_refund as {{ enrow.type_double() }}) as refund,
        cast(found_received as {{ enrow.type_double() }}) * {{ var('enrow_credits_per_found') }} as expected
    from stats
),

readings as (
    select
        batch_id,
        case
            when coalesce(refund, 0) = 0 or credits_cost is null then null
            when abs(credits_cost * (requested - found) - refund * found) < 0.01 then 'net'
            when abs(credits_cost * (requested - found) - refund * requested) < 0.01 then 'gross'
            when abs(credits_cost - expected) < 0.01 then 'net'
            when abs(credits_cost - refund - expected) < 0.01 then 'gross'
        end as credits_reading
    from doubles
),

account as (
    select
        {{ enrow.count_where("credits_reading = 'net'") }} as net_batches,
        {{ enrow.count_where("credits_reading = 'gross'") }} as gross_batches
    from readings
)

select
    stats.batch_id,
    stats.status,
    stats.requested,
    stats.finished,
    stats.found,
    stats.credits_cost,
    stats.credits_to_refund,
    readings.credits_reading,
    case
        when account.net_batches > 0 and account.gross_batches > 0 then 'both'
        when account.gross_batches > 0 then 'gross'
        when account.net_batches > 0 then 'net'
    end as account_credits_reading,
    -- Of one type at every destination: the bare difference of two numbers has none on Postgres.
    cast(
        case
            when
                coalesce(
                    readings.credits_reading,
                    case when account.gross_batches > account.net_batches then 'gross' end,
                    'net'
                ) = 'gross'
                then stats.credits_cost - coalesce(stats.credits_to_refund, 0)
            else stats.credits_cost
        end as {{ dbt.type_numeric() }}
    ) as credits_claimed,
    stats.results_received,
    stats.found_received,
    coalesce(ledger.results_loaded, 0) as results_loaded,
    stats.fetched_at,
    stats._dlt_load_id
from stats
inner join readings on stats.batch_id = readings.batch_id
cross join account
left join ledger on stats.batch_id = ledger.batch_id
