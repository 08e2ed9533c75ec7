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

STOP_GRACE_S: Final = 2.0
"""A run that is told to end waits this long for the answers that are under way."""

UNANSWERED_S: Final = 30.0
"""A batch that has not answered for so long when a run is stopped counts as failed; after a deadline each does."""

STOP_POLL_S: Final = 0.2
"""How often a run looks whether it is told to end, while no answer comes in."""

MAX_RESPONSE_MB: Final = 64
"""A full batch has about 0.5 MB."""

CHUNK_ROWS: Final = 60_000
"""Rows handed to dlt at a time: 20 full batches, the fastest size that was measured."""

CHUNK_BATCHES: Final = 1_000
"""Batches handed to dlt at a time, where they are small."""

LEDGER_NARROW_IDS: Final = 100
"""Up to this many candidate ids are named in the ledger statement; past it, all known ids are read."""

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

INVALID_IDS_LOGGED: Final = 10
"""Damaged ids of one run that are told in the log one by one."""
