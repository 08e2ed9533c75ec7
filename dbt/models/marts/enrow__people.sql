with
results as (
    select * from {{ ref('enrow__phone_searches') }}
),

submitted as (
    select
        searches.person_key,
        searches.search_index,
        submissions.submission_id,
        submissions.batch_id,
        submissions.campaign,
        submissions.created_at,
        case
            when submissions.is_unknown then 'unknown'
            when submissions.batch_state in ('completed', 'failed') then 'no_result'
            else 'pending'
        end as outcome
    from {{ ref('stg_enrow__submitted_searches') }} as searches
    inner join {{ ref('enrow__submissions') }} as submissions on searches.submission_id = submissions.submission_id
    where submissions.state not in ('refused', 'cancelled')
),

-- What was searched, and what has no result: not yet, or never.
attempts as (
    select
        person_key,
        phone_search_key as attempt_key,
        case when is_found then 'found' else 'not_found' end as outcome,
        fetched_at as attempted_at,
        batch_id,
        campaign,
        phone_number,
        country,
        credits_claimed
    from results
    where person_key is not null
    union all
    select
        submitted.person_key,
        submitted.submission_id || '-' || cast(submitted.search_index as {{ dbt.type_string() }}) as attempt_key,
        submitted.outcome,
        submitted.created_at as attempted_at,
        submitted.batch_id,
        submitted.campaign,
        cast(null as {{ dbt.type_string() }}) as phone_number,
        cast(null as {{ dbt.type_string() }}) as country,
        cast(0 as {{ dbt.type_numeric() }}) as credits_claimed
    from submitted
    left join results
        on submitted.batch_id = results.batch_id and submitted.search_index = results.search_index
    where results.phone_search_key is null
),

numbered as (
    select
        attempts.*,
        row_number() over (partition by person_key order by attempted_at desc, attempt_key desc) as from_newest,
        row_number() over (partition by person_key, outcome order by attempted_at desc, attempt_key desc)
            as from_newest_alike
    from attempts
)

select
    person_key,
    max(case when outcome = 'found' and from_newest_alike = 1 then phone_number end) as phone_number,
    max(case when outcome = 'found' and from_newest_alike = 1 then country end) as country,
    max(case when outcome = 'found' then attempted_at end) as found_at,
    {{ enrow.count_where("outcome <> 'unknown'") }} as times_searched,
    {{ enrow.count_where("outcome = 'found'") }} as times_paid,
    {{ enrow.count_where("outcome = 'unknown'") }} as times_unknown,
    cast(sum(credits_claimed) as {{ dbt.type_numeric() }}) as credits_claimed,
    min(attempted_at) as first_attempted_at,
    max(attempted_at) as last_attempted_at,
    max(case when from_newest = 1 then outcome end) as last_outcome,
    max(case when from_newest = 1 then batch_id end) as last_batch_id,
    max(case when from_newest = 1 then campaign end) as campaign
from numbered
group by person_key
