{#- A column of a loaded table whose name is a reserved word somewhere: quoted, in the case that dlt created it in. -#}
{%- macro loaded_column(name) -%}
  {{ return(adapter.dispatch('loaded_column', 'enrow')(name)) }}
{%- endmacro -%}

{%- macro default__loaded_column(name) -%}
  {{ return(adapter.quote(name)) }}
{%- endmacro -%}

{%- macro snowflake__loaded_column(name) -%}
  {{ return(adapter.quote(name | upper)) }}
{%- endmacro -%}
