{#- Clients send other names for these, the API sends them back, and a column is there once one has arrived. -#}
{%- set is_known = execute and flags.INTROSPECT -%}
{%- set columns = adapter.get_columns_in_relation(source('enrow', 'phone_results')) if is_known else [] -%}
{%- set loaded = columns | map(attribute='name') | map('lower') | list -%}
{%- set first, last = ["params__firstname"], ["params__lastname"] -%}
{%- if 'params__first_name' in loaded %}{% do first.append('params__first_name') %}{% endif -%}
{%- if 'params__last_name' in loaded %}{% do last.append('params__last_name') %}{% endif -%}
{%- for name in ['params__fullname', 'params__full_name', 'params__name'] if name in loaded -%}
  {%- set word = dbt.split_part("trim(" ~ name ~ ")", "' '", 1) -%}
  {%- do first.append(word) -%}
  {%- do last.append("trim(substr(trim(" ~ name ~ "), length(" ~ word ~ ") + 1))") -%}
{%- endfor -%}
with source as (
    select
        batch_id,
        {{ enrow.loaded_column('index') }} as search_index,
        qualification,
        {{ enrow.loaded_column('number') }} as phone_number,
        country,
        custom,
        params__linkedin_url as linkedin_url,
        {{ enrow.first_filled(first) }} as firstname,
        {{ enrow.first_filled(last) }} as lastname,
        params__company_domain as company_domain,
        params__company_name as company_name,
        fetched_at,
        _dlt_load_id
    from {{ source('enrow', 'phone_results') }}
),

-- Nothing guarantees that an index is there, or there once, so the rows of a batch are numbered. All columns decide on
-- the order: rows that are alike in all of them may take each other's number without anyone noticing.
numbered as (
    select
        source.*,
        row_number() over (
            partition by batch_id
            order by
                search_index, linkedin_url, firstname, lastname, company_domain, company_name, custom,
                qualification, phone_number, country
        ) as position_in_batch
    from source
)

select
    batch_id || '-' || cast(position_in_batch as {{ dbt.type_string() }}) as phone_search_key,
    batch_id,
    search_index,
    qualification,
    phone_number,
    country,
    custom,
    linkedin_url,
    firstname,
    lastname,
    company_domain,
    company_name,
    fetched_at,
    _dlt_load_id
from numbered
