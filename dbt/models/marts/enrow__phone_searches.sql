with
results as (
    select * from {{ ref('stg_enrow__phone_results') }}
),

batches as (
    select * from {{ ref('stg_enrow__batches') }}
),

stats as (
    select * from {{ ref('stg_enrow__batch_stats') }}
),

keyed as (
    select
        results.*,
        coalesce(qualification = 'found', false) as is_found,
        {{ enrow.profile_key('linkedin_url') }} as profile_key,
        {{ enrow.name_key('firstname') }} as firstname_key,
        {{ enrow.name_key('lastname') }} as lastname_key,
        coalesce({{ enrow.name_key('company_domain') }}, {{ enrow.name_key('company_name') }}) as company_key
    from results
),

searches as (
    select
        keyed.*,
        case
            when profile_key is not null then 'profile_url'
            when company_key is not null and coalesce(firstname_key, lastname_key) is not null then 'name_and_company'
            else 'other'
        end as search_kind
    from keyed
)

select
    searches.phone_search_key,
    searches.batch_id,
    searches.search_index,
    batches.status as batch_status,
    batches.campaign,
    searches.qualification,
    searches.is_found,
    searches.phone_number,
    searches.country,
    searches.search_kind,
    case
        when searches.search_kind = 'profile_url' then searches.profile_key
        when searches.search_kind = 'name_and_company'
            then coalesce(searches.firstname_key, '') || ' ' || coalesce(searches.lastname_key, '')
                || ' @ ' || searches.company_key
    end as person_key,
    searches.custom,
    searches.linkedin_url,
    searches.firstname,
    searches.lastname,
    searches.company_domain,
    searches.company_name,
    cast(
        case when searches.is_found then {{ var('enrow_credits_per_found') }} else 0 end as {{ dbt.type_numeric() }}
    ) as credits_expected,
    cast(
        case
            when not searches.is_found then 0
            else {{ enrow.share('stats.credits_claimed', 'stats.found_received') }}
        end as {{ dbt.type_numeric() }}
    ) as credits_claimed,
    searches.fetched_at,
    {{ enrow.utc_date('searches.fetched_at') }} as fetched_date
from searches
left join batches on searches.batch_id = batches.batch_id
left join stats on searches.batch_id = stats.batch_id
