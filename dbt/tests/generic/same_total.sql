{#- An aggregate over the model is the same as one over another: nothing was lost or counted twice on the way. -#}
{%- test same_total(model, expression, of, of_expression, tolerance=0) -%}
select here.total as total, there.total as expected
from (select coalesce({{ expression }}, 0) as total from {{ model }}) as here
cross join (select coalesce({{ of_expression }}, 0) as total from {{ of }}) as there
where abs(here.total - there.total) > {{ tolerance }}
{%- endtest -%}
