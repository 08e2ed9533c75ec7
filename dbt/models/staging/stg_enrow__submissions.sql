{%- set text, number, credits = dbt.type_string(), dbt.type_bigint(), dbt.type_numeric() -%}
{{ enrow.optional_source('submissions', {
    'submission_id': ('submission_id', text),
    'state': ('state', text),
    'batch_id': ('batch_id', text),
    'searches': ('searches', number),
    'credits_reserved': ('credits_reserved', credits),
    'credits_held': ('credits_held', credits),
    'campaign': ('campaign', text),
    'http_status': ('http_status', number),
    'message': ('message', text),
    'created_at': ('created_at', enrow.type_utc()),
    'ended_at': ('ended_at', enrow.type_utc()),
}) }}
