{#-
  Who is the same person, as tables/person.py of the source has it: tests/support/same_person.json holds the examples
  that both are tested with.
-#}

{#-
  The address of a profile, decoded and in lower case: no scheme, user, port, `www.`, country host, query, fragment,
  nothing after the name of a profile, no slash at the end. Null where nothing is left.
-#}
{%- macro profile_key(address) -%}
  {%- set key = namespace(text=address) -%}
  {%- for pattern, replacement in [
    ('[?#].*$', ''),
    ('^[[:space:]]*([a-z][a-z0-9+.-]*:)?//', ''),
    ('^[^/]*@', ''),
    ('^([^/:]*):[0-9]*', '\\1'),
    ('^[[:space:]]*(www[.])?', ''),
    ('^([a-z][a-z]|m|mobile|touch)[.](linkedin[.])', '\\2'),
    ('/+', '/'),
    ('^(linkedin[.][^/]*/in/[^/]+)/.*$', '\\1'),
    ('[/[:space:]]+$', ''),
  ] -%}
    {%- set key.text = enrow.regexp_replace(key.text, pattern, replacement) -%}
  {%- endfor -%}
  nullif({{ key.text }}, '')
{%- endmacro -%}

{#-
  A text in lower case whose percent-encoding is undone, once: of ASCII, and of the letters of Latin-1 and Latin
  Extended-A in UTF-8. By way of a JSON text, since that is what all adapters can decode: a double quote, which no
  address has, stands for a backslash on the way.
-#}
{%- macro percent_decoded(text) -%}
  {%- set plain = "replace(replace(" ~ text ~ ", chr(92), ''), '\"', '')" -%}
  {%- set json = namespace(text=enrow.regexp_replace(plain, '[[:cntrl:]]', ' ')) -%}
  {%- for first, high in [('c3', ['00c', '00d', '00e', '00f']), ('c4', ['010', '011', '012', '013']), ('c5', ['014', '015', '016', '017'])] -%}
    {%- for second in ['8', '9', 'a', 'b'] -%}
      {%- set json.text = enrow.regexp_replace(json.text, '%' ~ first ~ '%' ~ second ~ '([0-9a-f])', '"u' ~ high[loop.index0] ~ '\\1') -%}
    {%- endfor -%}
  {%- endfor -%}
  {%- set json.text = enrow.regexp_replace(json.text, '%([2-6][0-9a-f]|7[0-9a-e])', '"u00\\1') -%}
  {%- set json = "'\"' || replace(" ~ json.text ~ ", '\"', chr(92)) || '\"'" -%}
  case
    when {{ dbt.position("'%'", text) }} > 0 then {{ enrow.folded(enrow.json_scalar('(' ~ json ~ ')')) }}
    else {{ text }}
  end
{%- endmacro -%}

{#- A name or a company in lower case with single spaces; null where nothing is left. -#}
{%- macro name_key(name) -%}
  nullif(trim({{ enrow.regexp_replace(enrow.folded(name), '[[:space:]\u00a0]+', ' ') }}), '')
{%- endmacro -%}

{#- The domain of a company without scheme, `www.`, path, port and the dot at its end; null where nothing is left. -#}
{%- macro domain_key(domain) -%}
  {%- set key = namespace(text=enrow.name_key(domain)) -%}
  {%- for pattern in ['^([a-z][a-z0-9+.-]*:)?//', '[/?#].*$', '^www[.]', ':[0-9]*$', '[.]+$'] -%}
    {%- set key.text = enrow.regexp_replace(key.text, pattern) -%}
  {%- endfor -%}
  nullif({{ key.text }}, '')
{%- endmacro -%}

{#- A text in lower case; composed (NFC) where the adapter can. -#}
{%- macro folded(text) -%}
  {{ return(adapter.dispatch('folded', 'enrow')(text)) }}
{%- endmacro -%}

{%- macro default__folded(text) -%}
  lower({{ text }})
{%- endmacro -%}

{%- macro duckdb__folded(text) -%}
  lower(nfc_normalize({{ text }}))
{%- endmacro -%}

{%- macro postgres__folded(text) -%}
  lower(normalize({{ text }}, nfc))
{%- endmacro -%}

{%- macro bigquery__folded(text) -%}
  lower(normalize({{ text }}, nfc))
{%- endmacro -%}
