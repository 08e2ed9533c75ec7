-- Whoever is submitted again before the window is over may be paid for twice.
with
accepted as (
    select
        searches.person_key,
        searches.search_index,
        submissions.submission_id,
        submissions.created_at,
        lag(submissions.submission_id) over (
            partition by searches.person_key
            order by submissions.created_at, submissions.submission_id, searches.search_index
        ) as submission_before,
        lag(submissions.created_at) over (
            partition by searches.person_key
            order by submissions.created_at, submissions.submission_id, searches.search_index
        ) as created_before
    from {{ ref('stg_enrow__submitted_searches') }} as searches
    inner join {{ ref('stg_enrow__submissions') }} as submissions
        on searches.submission_id = submissions.submission_id
    where submissions.state = 'accepted'
)

select person_key, submission_before, created_before, submission_id, created_at
from accepted
where {{ dbt.datediff('created_before', 'created_at', 'minute') }}
    < 1440 * {{ var('enrow_retry_not_found_after_days') }}
