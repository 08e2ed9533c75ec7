"""`python -m tests.destinations.fakesnow_server PORT [S3_HOST_AND_PORT]`: fakesnow, made to understand what dlt sends.

It answers Snowflake's own connector over HTTP. What is changed here are gaps of the emulator, none of them in dlt or in
the source.
"""

import importlib
import re
import sys
from typing import Any

import pyarrow as pa

# Snowflake takes a stage in quotes, an option's word in quotes and commas between options; fakesnow does not.
_QUOTED_STAGE = re.compile(r"(?i)^(PUT '[^']*'|COPY INTO .*?\bFROM|REMOVE)(\s+)'(@[^']*)'", re.DOTALL)
_QUOTED_MATCH = re.compile(r"(?i)\b(MATCH_BY_COLUMN_NAME\s*=\s*)'(\w+)'")

# Its credentials for a bucket are its own.
_CREDENTIALS = re.compile(r"(?i)\bCREDENTIALS=\([^)]*\)")
_COMMA = re.compile(r",(?=\s*[A-Z_]+ = )")


def understood(sql: str) -> str:
    """Rewrite a statement of dlt into one that fakesnow parses."""
    sql = sql.strip()
    if not sql.upper().startswith(("PUT ", "COPY INTO ", "REMOVE ")):
        return sql
    return _COMMA.sub("", _CREDENTIALS.sub("", _QUOTED_MATCH.sub(r"\1\2", _QUOTED_STAGE.sub(r"\1\2\3", sql))))


def main() -> None:
    """Patch fakesnow and serve until the process is ended."""
    modules = ("fakesnow.server", "fakesnow.arrow", "fakesnow.cursor", "uvicorn")
    found: list[Any] = [importlib.import_module(name) for name in modules]
    server, arrow, cursor, uvicorn = found

    def parse(sql: str, **options: Any) -> Any:
        return parse_one(understood(sql), **options)

    def execute(self: Any, command: str, *arguments: Any, **options: Any) -> Any:
        return run(self, understood(command), *arguments, **options)

    def to_struct(timestamps: pa.ChunkedArray) -> pa.Array:
        """Without this a null is 1970."""
        structs = with_epoch(timestamps)
        is_null = pa.array([value is None for value in timestamps.to_pylist()], pa.bool_())
        return pa.StructArray.from_arrays(structs.flatten(), fields=list(structs.type), mask=is_null)

    parse_one, server.parse_one = server.parse_one, parse
    run, cursor.FakeSnowflakeCursor.execute = cursor.FakeSnowflakeCursor.execute, execute
    with_epoch, arrow.timestamp_to_sf_struct = arrow.timestamp_to_sf_struct, to_struct
    if len(sys.argv) > 2:
        importlib.import_module("duckdb_extensions").import_extension("httpfs", con=server.shared_fs.duck_conn)
        server.shared_fs.duck_conn.execute(
            f"LOAD httpfs; CREATE SECRET (TYPE s3, KEY_ID 'made-up', SECRET 'made-up', REGION 'us-east-1',"
            f" ENDPOINT '{sys.argv[2]}', USE_SSL false, URL_STYLE 'path')"
        )
    uvicorn.run(server.app, port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
