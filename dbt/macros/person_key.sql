{#- A profile's address, the same text however it was written: lower case, no scheme, `www.`, query or slash at its end. -#}
{%- macro profile_key(url) -%}
  {%- set text = dbt.split_part("lower(trim(" ~ url ~ "))", "'?'", 1) -%}
  {%- set text = dbt.split_part(text, "'#'", 1) -%}
  {%- set text = dbt.replace(dbt.replace(text, "'https://'", "''"), "'http://'", "''") -%}
  {%- set text = dbt.replace(text, "'www.'", "''") -%}
  nullif(rtrim({{ text }}, '/'), '')
{%- endmacro -%}

{#- A name or a company, the same text however it was written; null where nothing is left. -#}
{%- macro name_key(name) -%}
  nullif(lower(trim({{ name }})), '')
{%- endmacro -%}
