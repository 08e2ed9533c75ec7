with source as (
    select
        batch_id,
        {{ enrow.loaded_column('index') }} as search_index,
        qualification,
        {{ enrow.loaded_column('number') }} as phone_number,
        country,
        custom,
        params__linkedin_url as linkedin_url,
        params__firstname as firstname,
        params__lastname as lastname,
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
