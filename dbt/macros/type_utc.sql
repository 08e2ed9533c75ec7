{#- A point in time, as the loaded tables have it: dbt.type_timestamp() is one without a time zone on some adapters. -#}
{%- macro type_utc() -%}
  {{ return(adapter.dispatch('type_utc', 'enrow')()) }}
{%- endmacro -%}

{%- macro default__type_utc() -%}
  {{ return('timestamp with time zone') }}
{%- endmacro -%}

{%- macro bigquery__type_utc() -%}
  {{ return('timestamp') }}
{%- endmacro -%}

{%- macro snowflake__type_utc() -%}
  {{ return('timestamp_tz') }}
{%- endmacro -%}
