with
searches as (
    select
        person_key,
        search_kind,
        batch_id,
        is_found,
        phone_number,
        credits_expected,
        credits_claimed,
        fetched_at,
        row_number() over (
            partition by person_key, is_found order by fetched_at, phone_search_key
        ) as occurrence
    from {{ ref('enrow__phone_searches') }}
    where person_key is not null
)

select
    person_key,
    min(search_kind) as search_kind,
    count(*) as times_searched,
    {{ enrow.count_where('is_found') }} as times_paid,
    count(distinct batch_id) as batches,
    count(distinct phone_number) as distinct_numbers,
    min(fetched_at) as first_fetched_at,
    max(fetched_at) as last_fetched_at,
    cast(sum(credits_expected) as {{ dbt.type_numeric() }}) as credits_expected,
    cast(sum(case when occurrence > 1 then credits_expected else 0 end) as {{ dbt.type_numeric() }})
        as credits_expected_again,
    cast(sum(credits_claimed) as {{ dbt.type_numeric() }}) as credits_claimed,
    cast(sum(case when occurrence > 1 then credits_claimed else 0 end) as {{ dbt.type_numeric() }})
        as credits_claimed_again
from searches
group by person_key
having {{ enrow.count_where('is_found') }} > 1
