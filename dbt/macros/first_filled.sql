{#- The first of several texts that has more than spaces; null where none has. -#}
{%- macro first_filled(texts) -%}
  {%- if texts | length == 1 -%}
    {{ texts[0] }}
  {%- else -%}
    coalesce({% for text in texts %}nullif(trim({{ text }}), ''){{ ', ' if not loop.last }}{% endfor %})
  {%- endif -%}
{%- endmacro -%}
