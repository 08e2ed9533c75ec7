"""The floor: what the work costs with nothing around it. No framework, no checks, no ledger, no second try.

Keep-alive threads, msgspec to typed structs, Arrow, one DuckDB transaction that replaces what was there.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from threading import local
from urllib.parse import urlsplit

import duckdb
import msgspec
import pyarrow as pa

CONNECTIONS = 8


class _Params(msgspec.Struct, gc=False):
    linkedin_url: str | None = None
    firstname: str | None = None
    lastname: str | None = None
    company_domain: str | None = None
    company_name: str | None = None


class _Result(msgspec.Struct, gc=False):
    index: int
    qualification: str
    params: _Params
    number: str | None = None
    country: str | None = None
    custom: str | None = None


class _General(msgspec.Struct, gc=False):
    id: str
    status: str


class _Stats(msgspec.Struct, gc=False):
    requested: int
    found: int
    credits_cost: float
    credits_to_refund: float


class _Body(msgspec.Struct, gc=False):
    general: _General
    stats: _Stats
    results: list[_Result]


_BODY = msgspec.json.Decoder(_Body)
_THREAD = local()
_FIELDS = ("index", "qualification", "number", "country", "custom")
SCHEMA = pa.schema(
    [
        ("batch_id", pa.string()),
        ("index", pa.int64()),
        *((name, pa.string()) for name in (*_FIELDS[1:], *_Params.__struct_fields__)),
    ]
)


def fetch(url: str, batch_id: str) -> tuple[dict[str, object], pa.Table]:
    """Fetch one batch: its row of `batches`, and its results as Arrow."""
    connection: HTTPConnection | None = getattr(_THREAD, "connection", None)
    if connection is None:
        connection = _THREAD.connection = HTTPConnection(urlsplit(url).netloc)
    connection.request("GET", f"/phone/bulk?id={batch_id}", headers={"x-api-key": "key"})
    body = _BODY.decode(connection.getresponse().read())
    results = body.results
    columns = [
        pa.repeat(batch_id, len(results)),
        pa.array([result.index for result in results], pa.int64()),
        *(pa.array([getattr(result, name) for result in results], pa.string()) for name in _FIELDS[1:]),
        *(
            pa.array([getattr(result.params, name) for result in results], pa.string())
            for name in _Params.__struct_fields__
        ),
    ]
    batch = {"batch_id": batch_id, "status": body.general.status, **msgspec.structs.asdict(body.stats)}
    return batch, pa.Table.from_arrays(columns, schema=SCHEMA)


def main() -> None:
    """Load the batches."""
    url, ids_file, file = sys.argv[1:4]
    batch_ids = Path(ids_file).read_text(encoding="utf-8").split()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        fetched = list(pool.map(lambda batch_id: fetch(url, batch_id), batch_ids))
    incoming = {
        "batches": pa.Table.from_pylist([batch for batch, _ in fetched]),
        "phone_results": pa.concat_tables([results for _, results in fetched]),
    }
    with duckdb.connect(file) as connection:
        connection.begin()
        for name, rows in incoming.items():
            connection.register("incoming", rows)
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} AS FROM incoming LIMIT 0")
            connection.execute(f"DELETE FROM {name} WHERE batch_id IN (SELECT batch_id FROM incoming)")  # noqa: S608 - the two names above
            connection.execute(f"INSERT INTO {name} FROM incoming")
        connection.commit()


if __name__ == "__main__":
    main()
