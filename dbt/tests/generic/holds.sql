{#- A condition is not false for any row; null passes. -#}
{%- test holds(model, condition, column_name=none) -%}
select *
from {{ model }}
where not ({{ condition }})
{%- endtest -%}
