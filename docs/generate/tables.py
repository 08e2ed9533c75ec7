"""A page for each table, from the schema that dlt stored with the load, and the entity diagram of them all."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from dlt.common.schema.typing import TStoredSchema, TTableReferenceStandalone
from dlt.helpers.mermaid import schema_to_mermaid

from docs.generate.loaded import OF_THE_RUN, LoadedExample
from docs.generate.queries import QUERIES

PERSONAL: Final = "x-personal-data"

_OF_DLT: Final = {
    "_dlt_id": "dlt's own id of the row.",
    "_dlt_load_id": "The load that brought the row; joins `_dlt_loads`.",
}
"""Columns that dlt adds, without a description."""


def overview(warehouse: LoadedExample) -> str:
    """Make the page that leads to the others, with the diagram."""
    rows = [[f"[`{name}`]({name}.md)", table["description"]] for name, table in warehouse.tables.items()]
    return f"""# Tables

{grid(("table", "rows"), rows)}

Every column exists from the first load on, even when no response has had the field yet. Columns with personal data are
marked 🔒: [`pii`](../../privacy.md#hash-or-drop-personal-data) hashes or drops them before anything is written.

A field that the API does not document becomes a text column: a string as it is, anything else as JSON text, and
`params__<key>` for a key of `params`. When a table has 300 such columns, or two keys need the same column, the value
goes to a JSON column (`overflow`, `params__overflow`) and the run logs a warning.

```mermaid
{_diagram(warehouse)}
```
"""


def page(table: Mapping[str, Any], warehouse: LoadedExample) -> str:
    """Make the page of a table.

    Raises:
        ValueError: The table or one of its columns has no description, or there is no query for it, or no answer.
    """
    name = table["name"]
    if not table.get("description"):
        raise ValueError(f"table {name} has no description: give it one where its columns are declared")
    queries = _queries(name, warehouse)
    columns = table["columns"]
    key = [f"`{column['name']}`" for column in columns.values() if column.get("primary_key")]
    keyed = f" Key: {', '.join(key)}." if key else " A batch is replaced as a whole." if name == "phone_results" else ""
    parts = [
        f"# `{name}`\n\n{table['description']}{keyed}",
        f"## Columns\n\n{grid(('column', 'type', '', 'meaning'), [_column(name, one) for one in columns.values()])}",
        f"## A row\n\n{_example(table, warehouse)}",
        "## Queries",
        *queries,
    ]
    return "\n\n".join(parts)


def _column(table: str, column: Mapping[str, Any]) -> Sequence[str]:
    description = column.get("description") or _OF_DLT.get(column["name"])
    if not description:
        raise ValueError(f"{table}.{column['name']} has no description: give it one where it is declared")
    nullable = "" if column.get("nullable", True) else "not null"
    marks = " ".join(filter(None, (nullable, "🔒" if column.get(PERSONAL) else "")))
    return f"`{column['name']}`", column["data_type"], marks, description


def _example(table: Mapping[str, Any], warehouse: LoadedExample) -> str:
    # The row with most columns filled.
    filled = " + ".join(f'("{name}" IS NOT NULL)::INT' for name in table["columns"])
    order = ", ".join([f"{filled} DESC", *_stable(table)])
    names, (row,) = warehouse.ask(f"SELECT * FROM {table['name']} ORDER BY {order} LIMIT 1")  # noqa: S608 - of the schema
    return grid(("column", "value"), [(f"`{name}`", _cell(value)) for name, value in zip(names, row, strict=True)])


def _stable(table: Mapping[str, Any]) -> list[str]:
    """Name the columns that are the same in each load."""
    kinds = ("timestamp", "double")
    columns = {name: column for name, column in table["columns"].items() if name not in OF_THE_RUN and name[0] != "_"}
    return [f'"{name}"' for name, column in columns.items() if column["data_type"] not in kinds]


def _queries(table: str, warehouse: LoadedExample) -> list[str]:
    parts = []
    for query in QUERIES.get(table, ()):
        statement = textwrap.dedent(query.statement).strip()
        names, rows = warehouse.ask(statement)
        if not rows:
            raise ValueError(f"{query.question} has no answer in the examples: {statement}")
        answer = grid(names, [[_cell(value) for value in row] for row in rows])
        parts.append(f"### {query.question}\n\n```sql\n{statement}\n```\n\n{answer}")
    if not parts:
        raise ValueError(f"there is no example query for the table {table}: add one to reference/queries.py")
    return parts


def _diagram(warehouse: LoadedExample) -> str:
    schema = cast("TStoredSchema", {"tables": warehouse.tables})
    references: list[TTableReferenceStandalone] = [
        {
            "table": "batches",
            "referenced_table": name,
            "columns": ["batch_id"],
            "referenced_columns": ["batch_id"],
            "label": "batch_id",
            "cardinality": "one_to_one" if _keys(table) == ["batch_id"] else "one_to_many",
        }
        for name, table in warehouse.tables.items()
        if name != "batches" and "batch_id" in table["columns"]
    ]
    return schema_to_mermaid(schema, references=references, hide_descriptions=True).strip()


def _keys(table: Mapping[str, Any]) -> list[str]:
    return [name for name, column in table["columns"].items() if column.get("primary_key")]


def _cell(value: str | None) -> str:
    return "*null*" if value is None else f"`{value}`"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table in Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
