-- Every row that was read was either left out for a reason, or was to be submitted.
select *
from {{ ref('stg_enrow__submit_runs') }}
where searches is not null
    and rows_read <> searches
        + left_out_invalid
        + left_out_repeated
        + left_out_erased
        + left_out_in_submission
        + left_out_found
        + left_out_not_found
        + left_out_beyond_limit
