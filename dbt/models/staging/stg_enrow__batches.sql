with source as (
    select * from {{ source('enrow', 'batches') }}
),

scalars as (
    select
        batch_id,
        status,
        custom,
        {{ enrow.json_scalar('custom') }} as custom_text,
        {{ enrow.json_scalar('custom', var('enrow_campaign_key')) }} as custom_campaign,
        first_seen_at,
        fetched_at,
        _dlt_load_id
    from source
)

select
    batch_id,
    status,
    custom,
    nullif(trim(coalesce(custom_campaign, custom_text)), '') as campaign,
    first_seen_at,
    fetched_at,
    _dlt_load_id
from scalars
