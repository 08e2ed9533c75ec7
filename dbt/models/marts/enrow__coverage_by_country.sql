with countries as (
    select
        country,
        count(distinct batch_id) as batches,
        count(*) as searches,
        {{ enrow.count_where('is_found') }} as found,
        {{ enrow.count_where("search_kind = 'profile_url' and is_found") }} as found_by_profile,
        {{ enrow.count_where("search_kind = 'name_and_company' and is_found") }} as found_by_name,
        cast(sum(credits_expected) as {{ dbt.type_numeric() }}) as credits_expected,
        cast(coalesce(sum(credits_claimed), 0) as {{ dbt.type_numeric() }}) as credits_claimed
    from {{ ref('enrow__phone_searches') }}
    group by country
),

shares as (
    select countries.*, sum(found) over () as found_in_all from countries
)

select
    country,
    batches,
    searches,
    found,
    {{ enrow.share('found', 'found_in_all') }} as share_of_found,
    found_by_profile,
    found_by_name,
    credits_expected,
    credits_claimed,
    {{ enrow.share('credits_claimed', 'found') }} as credits_per_found
from shares
