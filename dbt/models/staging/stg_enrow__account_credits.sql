{{ enrow.optional_source('account_credits', {
    'checked_at': ('checked_at', enrow.type_utc()),
    'credits': ('credits', dbt.type_numeric()),
    'command': ('command', dbt.type_string()),
    'run_id': ('run_id', dbt.type_string()),
}) }}
