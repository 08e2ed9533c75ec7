"""Names, limits and defaults, each with its unit in its name."""

from __future__ import annotations

from typing import Final

SOURCE_NAME: Final = "enrow"
"""Name and configuration section of the source: options live under ``[sources.enrow]``."""

BASE_URL: Final = "https://api.enrow.io"
BATCH_PATH: Final = "/phone/bulk"
ACCOUNT_PATH: Final = "/account/info"
API_KEY_HEADER: Final = "x-api-key"

CONNECTIONS: Final = 32
"""Batches fetched at the same time. The API documents no rate limit for GET requests."""

CONNECTIONS_LIMIT: Final = 256

MAX_CONSECUTIVE_FAILURES: Final = 50
"""Batches in a row that the API did not answer for, after which a run ends early."""

WARN_AFTER_H: Final = 24.0
"""Hours that a batch may be pending before a run warns that its id may expire; the API documents no period."""


STOP_GRACE_S: Final = 2.0
"""A run that is stopped waits this long for the answers that are under way."""

UNANSWERED_S: Final = 30.0
"""A batch that has not answered for so long when a run is stopped counts as failed; after a deadline each does."""

STOP_POLL_S: Final = 0.2
"""How often a run checks whether it is stopped, while no answer comes in."""

UNKNOWN_STATUS_H: Final = 24
"""Hours after which a batch whose status is not documented is reported as stuck, whatever `stuck_after_h` is."""

MAX_RESPONSE_MB: Final = 64
"""A full batch has about 0.5 MB."""

CHUNK_ROWS: Final = 60_000
"""Rows handed to dlt at a time: 20 full batches, the fastest size that was measured."""

ROW_GROUP_ROWS: Final = 122_880
"""Rows in a row group of a parquet file: as many as DuckDB keeps together, so that it reads them fastest."""

RESULTS_FILE_ROWS: Final = 2_000_000
"""Rows in one file of `phone_results`; the files of a load are read at the same time."""

DUCKDB_FILE_ROWS: Final = 10_000_000
"""The same on DuckDB, which runs in this process: two files at a time take more of its memory."""

CHUNK_BATCHES: Final = 1_000
"""Batches handed to dlt at a time, where they are small."""

LEDGER_NARROW_IDS: Final = 100
"""Up to this many candidate ids are named in the ledger statement; past it, all loaded ids are read."""

DELETE_IDS: Final = 1_000
"""Batch ids named in one statement that removes their rows."""

LEDGER_FETCH_ROWS: Final = 50_000
"""Ledger rows held in memory at a time."""

CREDITS_PRECISION: Final = 38
CREDITS_SCALE: Final = 9
"""Credits are exact decimals of this size, which every destination can hold."""

READ_BYTES: Final = 1 << 18
"""Bytes of a body read from the socket at a time."""

RESPONSE_TIMEOUT_FACTOR: Final = 3
"""An answer may take this many times `[runtime] request_timeout` as a whole; the timeout itself is for each read."""

UNDECLARED_COLUMNS: Final = 300
"""Columns that a table may have for undocumented fields; past it they go to the JSON column `overflow`."""

MESSAGE_CHARS: Final = 500
"""Characters of a message of the API that are kept."""

PII_SECRET_CHARS: Final = 16
"""Characters that the secret of `pii = "hash"` has at least."""

HIDDEN_VALUES: Final = 500
"""Values that are hashed in one statement, where they were loaded in clear."""

SECRET_CHECK_CHARS: Final = 8
"""Characters of a keyed hash that are kept to notice that the secret has changed."""

RESULTS_LIMIT: Final = 30_000
"""Results that one answer may have: ten times what the API documents as the most."""

FINISHED_EVENT: Final = "bulk_phone_search_finished"
"""The webhook event that names a batch of phones which has ended."""

ID_LAG_S: Final = 3600.0
"""Seconds before the newest file or row that sources of ids read again: they may appear out of order."""

ID_ROWS: Final = 10_000
"""Ids read from a file or a database at a time."""

ID_PAGE: Final = 1_000
"""Ids of a file handed on at a time."""

ID_CHARS: Final = 255
"""The most characters that a batch id has; a UUID has 36."""

YOUNG_FILE_S: Final = 60.0
"""Seconds after its last change in which the last line of a file may be half-written, where it has no end."""

GIVE_UP_FETCHES: Final = 10
"""Fetches of a deferred id that the API answered with 'unknown or expired', after which it may be given up."""

GIVE_UP_DAYS: Final = 7.0
"""Days since an id was deferred, after which it may be given up."""

INVALID_IDS_LOGGED: Final = 10
"""Invalid ids of one run that are logged one by one."""

SEARCHES_PER_BATCH: Final = 3_000
"""The most searches that the API takes in one batch, and the default."""

CREDITS_PER_FOUND: Final = 40.0
"""Credits that a found number costs, and that are held for each search; 50 on older plans."""

RETRY_NOT_FOUND_AFTER_DAYS: Final = 90.0
"""Days after which a person who was not found may be searched again."""

PERSON_CHARS: Final = 500
"""Characters that a value of a person may have."""

LEASE_S: Final = 120.0
"""Seconds that a submitter holds its lease without renewing it. It decides how soon another one may go on where one
has died, and nothing else: that nobody is sent twice does not rest on a clock."""

LEASE_WAIT_S: Final = 150.0
"""Seconds that a submitter waits for the lease of another one."""

LEASE_POLL_S: Final = 1.0
"""How often it asks for it meanwhile."""

POST_ATTEMPTS: Final = 5
"""Times that one batch is posted, where each time proved that nothing was accepted."""

INVALID_SEARCHES_PER_BATCH: Final = 20
"""Searches of one batch that the API may refuse by their number, each of which costs a POST, before it is given up."""

RECORD_ATTEMPTS: Final = 8
"""Times that it is tried to write down the answer to a POST, which is not to be lost."""

RECORD_WAIT_S: Final = 0.5
"""Seconds before the second time; twice as long before each further one."""

INSERT_ROWS: Final = 500
"""Rows of one INSERT: BigQuery takes 10,000 parameters."""

STREAM_ROWS: Final = 10_000
"""Rows of a table that are held in memory at a time, where it is read as a whole."""

LOCK_POLL_S: Final = 0.05
"""How often a run checks whether a locked file is free."""

LOAD_WAIT_S: Final = 1_800.0
"""A run waits this long for another one that loads into the same dataset."""

LOAD_LEASE_S: Final = 30.0
"""A lease that was not renewed for this long has ended."""

LOAD_LEASE_POLL_S: Final = 1.0
"""How often a run checks whether a lease has ended."""
