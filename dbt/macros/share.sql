{#- One number divided by another as a fraction; null where there is nothing to divide by. -#}
{%- macro share(part, whole) -%}
  cast({{ part }} as {{ enrow.type_double() }}) / nullif(cast({{ whole }} as {{ enrow.type_double() }}), 0)
{%- endmacro -%}

{#- How many rows a condition holds for. -#}
{%- macro count_where(condition) -%}
  count(case when {{ condition }} then 1 end)
{%- endmacro -%}
