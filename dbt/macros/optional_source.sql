{#-
  Columns of a table that is not there in every warehouse; no rows where it is not. `columns` has, for each one, what it
  is called here, and a list of what is selected and of the type.
  Without a connection dbt cannot check, and takes the table for there.
-#}
{%- macro optional_source(name, columns) -%}
  {%- set relation = source('enrow', name) -%}
  {%- set is_there = not execute or not flags.INTROSPECT or load_relation(relation) is not none -%}
select
  {%- for column, (selected, type) in columns.items() %}
    {{ selected if is_there else 'cast(null as ' ~ type ~ ')' }} as {{ column }}{{ ',' if not loop.last }}
  {%- endfor %}
from {{ relation if is_there else '(select 1 as nothing) as nobody' }}
  {%- if not is_there %}
where 1 = 0
  {%- endif -%}
{%- endmacro -%}
