select
    batch_id,
    http_status,
    kind,
    message,
    fetched_at,
    _dlt_load_id
from {{ source('enrow', 'batch_errors') }}
