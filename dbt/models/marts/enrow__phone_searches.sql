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

-- What enrow submit has sent: it wrote down who each search is for.
submitted as (
    select submissions.batch_id, searches.search_index, searches.person_key
    from {{ ref('stg_enrow__submitted_searches') }} as searches
    inner join {{ ref('stg_enrow__submissions') }} as submissions
        on searches.submission_id = submissions.submission_id
    where submissions.state = 'accepted'
),

addressed as (
    select
        results.*,
        {{ enrow.regexp_replace(enrow.folded('linkedin_url'), '[?#].*$') }} as address
    from results
),

decoded as (
    select addressed.*, {{ enrow.percent_decoded('address') }} as decoded_address from addressed
),

-- Twice, as a spreadsheet or a redirect encodes it.
plain as (
    select decoded.*, {{ enrow.percent_decoded('decoded_address') }} as plain_address from decoded
),

keyed as (
    select
        plain.*,
        coalesce(qualification = 'found', false) as is_found,
        {{ enrow.profile_key('plain_address') }} as profile_key,
        {{ enrow.name_key('firstname') }} as firstname_key,
        {{ enrow.name_key('lastname') }} as lastname_key,
        coalesce({{ enrow.domain_key('company_domain') }}, {{ enrow.name_key('company_name') }}) as company_key
    from plain
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
    coalesce(
        submitted.person_key,
        case
            when searches.search_kind = 'profile_url' then searches.profile_key
            when searches.search_kind = 'name_and_company'
                then coalesce(searches.firstname_key, '') || ' ' || coalesce(searches.lastname_key, '')
                    || ' @ ' || searches.company_key
        end
    ) as person_key,
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
left join submitted on searches.batch_id = submitted.batch_id and searches.search_index = submitted.search_index
