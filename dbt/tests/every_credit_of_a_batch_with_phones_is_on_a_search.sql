-- What the API claims for a batch is shared out among its phones, and nothing gets lost.
with
searches as (
    select batch_id, sum(credits_claimed) as credits_claimed
    from {{ ref('enrow__phone_searches') }}
    group by batch_id
)

select batches.batch_id, batches.credits_claimed as of_batch, searches.credits_claimed
from {{ ref('enrow__batches') }} as batches
inner join searches on batches.batch_id = searches.batch_id
where batches.found_rows > 0
    and batches.found_rows = batches.found_received -- or the part of erased persons is missing
    and abs(batches.credits_claimed - searches.credits_claimed) > 0.01
