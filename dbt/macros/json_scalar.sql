{#-
  A text, number or boolean in a column of JSON text, as text: the value of `key` where the JSON is an object, or the
  JSON itself where `key` is left out. Null where there is none, and where it is an object or an array.
  dbt has no cross-database macro for this.
-#}
{%- macro json_scalar(column, key=none) -%}
  {{ return(adapter.dispatch('json_scalar', 'enrow')(column, key)) }}
{%- endmacro -%}

{#- The path of a key, which may hold any character but a double quote, as a SQL literal. -#}
{%- macro json_path(key) -%}
  {%- if key is none -%}{{ return("'$'") }}{%- endif -%}
  {%- if '"' in key or '\\' in key -%}
    {{ exceptions.raise_compiler_error("a JSON key with a double quote or a backslash cannot be named portably: " ~ key) }}
  {%- endif -%}
  {{ return("'$.\"" ~ dbt.escape_single_quotes(key) ~ "\"'") }}
{%- endmacro -%}

{%- macro default__json_scalar(column, key) -%}
  {{ exceptions.raise_compiler_error("enrow.json_scalar has no version for " ~ target.type ~ ": add a macro " ~ target.type ~ "__json_scalar to your project and dispatch to it") }}
{%- endmacro -%}

{%- macro duckdb__json_scalar(column, key) -%}
  (json_value({{ column }}, {{ enrow.json_path(key) }}) ->> '$')
{%- endmacro -%}

{%- macro bigquery__json_scalar(column, key) -%}
  json_value({{ column }}, {{ enrow.json_path(key) }})
{%- endmacro -%}

{%- macro postgres__json_scalar(column, key) -%}
  {%- set value = "cast(" ~ column ~ " as jsonb)" -%}
  {%- if key is not none -%}
    {%- set value = "(" ~ value ~ " -> '" ~ dbt.escape_single_quotes(key) ~ "')" -%}
  {%- endif -%}
  (case when jsonb_typeof({{ value }}) not in ('object', 'array') then {{ value }} #>> '{}' end)
{%- endmacro -%}

{%- macro snowflake__json_scalar(column, key) -%}
  {%- set value = "try_parse_json(" ~ column ~ ")" -%}
  {%- if key is not none -%}
    {%- set value = "get(" ~ value ~ ", '" ~ dbt.escape_single_quotes(key) ~ "')" -%}
  {%- endif -%}
  (case when typeof({{ value }}) not in ('OBJECT', 'ARRAY', 'NULL_VALUE') then cast({{ value }} as varchar) end)
{%- endmacro -%}
