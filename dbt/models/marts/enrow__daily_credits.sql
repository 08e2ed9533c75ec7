with
batches as (
    select
        batch_id,
        campaign,
        state,
        found_received,
        credits_expected,
        credits_claimed,
        credits_to_refund,
        {{ enrow.utc_date('fetched_at') }} as fetched_date
    from {{ ref('enrow__batches') }}
    where fetched_at is not null
),

searches as (
    select
        batch_id,
        count(*) as searches,
        {{ enrow.count_where('is_found') }} as found,
        {{ enrow.count_where("search_kind = 'profile_url'") }} as searches_by_profile,
        {{ enrow.count_where("search_kind = 'profile_url' and is_found") }} as found_by_profile,
        {{ enrow.count_where("search_kind = 'name_and_company'") }} as searches_by_name,
        {{ enrow.count_where("search_kind = 'name_and_company' and is_found") }} as found_by_name
    from {{ ref('enrow__phone_searches') }}
    group by batch_id
),

days as (
    select
        batches.fetched_date,
        batches.campaign,
        count(*) as batches,
        {{ enrow.count_where("batches.state = 'completed'") }} as batches_completed,
        {%- for column in [
            'searches', 'found', 'searches_by_profile', 'found_by_profile', 'searches_by_name', 'found_by_name'
        ] %}
        cast(coalesce(sum(searches.{{ column }}), 0) as {{ dbt.type_bigint() }}) as {{ column }},
        {%- endfor %}
        cast(coalesce(sum(batches.found_received), 0) as {{ dbt.type_bigint() }}) as found_received,
        cast(coalesce(sum(batches.credits_expected), 0) as {{ dbt.type_numeric() }}) as credits_expected,
        cast(coalesce(sum(batches.credits_claimed), 0) as {{ dbt.type_numeric() }}) as credits_claimed,
        cast(coalesce(sum(batches.credits_to_refund), 0) as {{ dbt.type_numeric() }}) as credits_to_refund
    from batches
    left join searches on batches.batch_id = searches.batch_id
    group by batches.fetched_date, batches.campaign
)

select
    fetched_date,
    campaign,
    batches,
    batches_completed,
    searches,
    found,
    {{ enrow.share('found', 'searches') }} as share_found,
    searches_by_profile,
    found_by_profile,
    {{ enrow.share('found_by_profile', 'searches_by_profile') }} as share_found_by_profile,
    searches_by_name,
    found_by_name,
    {{ enrow.share('found_by_name', 'searches_by_name') }} as share_found_by_name,
    found_received,
    credits_expected,
    credits_claimed,
    cast(credits_claimed - credits_expected as {{ dbt.type_numeric() }}) as credits_difference,
    credits_to_refund,
    {{ enrow.share('credits_claimed', 'found_received') }} as credits_per_found
from days
