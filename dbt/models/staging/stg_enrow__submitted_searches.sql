{{ enrow.optional_source('submitted_searches', {
    'submission_id': ('submission_id', dbt.type_string()),
    'search_index': (enrow.loaded_column('index'), dbt.type_bigint()),
    'person_key': ('person_key', dbt.type_string()),
    'custom': ('custom', dbt.type_string()),
}) }}
