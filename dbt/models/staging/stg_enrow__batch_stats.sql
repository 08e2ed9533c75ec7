with
stats as (
    select * from {{ source('enrow', 'batch_stats') }}
),

ledger as (
    select * from {{ source('enrow', 'phone_results_ledger') }}
)

select
    stats.batch_id,
    stats.status,
    stats.requested,
    stats.finished,
    stats.found,
    stats.credits_cost,
    stats.credits_to_refund,
    stats.results_received,
    stats.found_received,
    coalesce(ledger.results_loaded, 0) as results_loaded,
    stats.fetched_at,
    stats._dlt_load_id
from stats
left join ledger on stats.batch_id = ledger.batch_id
