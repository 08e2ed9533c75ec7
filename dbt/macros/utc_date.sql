{#- The UTC date of a timestamp, whatever time zone the session is in. -#}
{%- macro utc_date(column) -%}
  {{ return(adapter.dispatch('utc_date', 'enrow')(column)) }}
{%- endmacro -%}

{#- As on BigQuery, whose timestamps are in UTC. -#}
{%- macro default__utc_date(column) -%}
  cast({{ dbt.date_trunc('day', column) }} as date)
{%- endmacro -%}

{%- macro postgres__utc_date(column) -%}
  cast({{ column }} at time zone 'UTC' as date)
{%- endmacro -%}

{%- macro duckdb__utc_date(column) -%}
  cast({{ column }} at time zone 'UTC' as date)
{%- endmacro -%}

{%- macro snowflake__utc_date(column) -%}
  cast(convert_timezone('UTC', {{ column }}) as date)
{%- endmacro -%}
