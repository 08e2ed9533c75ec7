{#- A floating-point number of 8 bytes: dbt.type_float() has 4 on DuckDB, which shows in the seventh digit. -#}
{%- macro type_double() -%}
  {{ return(adapter.dispatch('type_double', 'enrow')()) }}
{%- endmacro -%}

{%- macro default__type_double() -%}
  {{ return(dbt.type_float()) }}
{%- endmacro -%}

{%- macro duckdb__type_double() -%}
  {{ return('double') }}
{%- endmacro -%}
