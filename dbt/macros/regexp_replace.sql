{#-
  A text in which every match of a pattern is replaced; `\1` is the first group. The pattern is one that every engine
  reads alike: no backslashes, no quotes, no lazy repetition. dbt has no cross-database macro for this.
-#}
{%- macro regexp_replace(text, pattern, replacement='') -%}
  {{ return(adapter.dispatch('regexp_replace', 'enrow')(text, pattern, replacement)) }}
{%- endmacro -%}

{%- macro default__regexp_replace(text, pattern, replacement) -%}
  regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement }}', 'g')
{%- endmacro -%}

{#- Backslashes are escaped in literals. -#}
{%- macro bigquery__regexp_replace(text, pattern, replacement) -%}
  regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement | replace("\\", "\\\\") }}')
{%- endmacro -%}

{%- macro snowflake__regexp_replace(text, pattern, replacement) -%}
  regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement | replace("\\", "\\\\") }}')
{%- endmacro -%}
