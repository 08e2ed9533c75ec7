"""Write the HTTP cassettes of the tests: `python -m tests.cassettes.record`, or `make cassettes`.

Without arguments it makes the cassettes of the documented responses, always the same ones, without the network. They
are marked: `recorded_live: false`. With a key and batch ids it records the live API, beside them, as `live_*.yaml`:

    ENROW_API_KEY=... python -m tests.cassettes.record BATCH_ID [BATCH_ID ...]

It asks for each id once, for an id that nobody has, and twice without a good key; that costs no credits. Small batches
make small cassettes. Only the shape of the responses and their counts are kept, see `without_personal_data`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Container, Mapping, Sequence
from http import HTTPStatus
from itertools import chain, count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import vcr
from vcr.request import Request

from enrow_source.testing import SimulatedEnrow, bodies

FOLDER: Final = Path(__file__).parent
BASE_URL: Final = "https://api.enrow.io"
UNKNOWN_ID: Final = "00000000-0000-4000-8000-000000000000"
BAD_KEY: Final = "not-a-key"
TIMEOUT_S: Final = 60

NOT_LIVE: Final = "# Not recorded live: made from the documented responses by tests/cassettes/record.py.\n"
LIVE: Final = "# Recorded live by tests/cassettes/record.py; the key and all personal data are taken out.\n"

KEPT_HEADERS: Final = frozenset(
    {"content-type", "retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}
)
"""Response headers that a cassette keeps; others can hold cookies, traces and dates. No request header is kept."""


class RecordingError(Exception):
    """Something that must not become a cassette."""


def make_documented(folder: Path) -> list[Path]:
    """Make the cassettes of the documented responses, from the simulated API under the real URL."""
    with SimulatedEnrow() as api:
        api.respond(bodies.DOCUMENTED_ID, bodies.ongoing(bodies.DOCUMENTED_ID, 2, 0), bodies.documented())
        fetches: list[tuple[str, str, str | None]] = [
            ("ongoing", bodies.DOCUMENTED_ID, api.api_key),
            ("completed", bodies.DOCUMENTED_ID, api.api_key),
            ("unknown_id", UNKNOWN_ID, api.api_key),
            ("no_key", bodies.DOCUMENTED_ID, None),
            ("bad_key", bodies.DOCUMENTED_ID, BAD_KEY),
        ]
        return [
            _write(folder, f"documented_{name}", _record(api.url, batch_id, api_key, live=False)[1])
            for name, batch_id, api_key in fetches
        ]


def record_live(folder: Path, batch_ids: Sequence[str], api_key: str, base_url: str = BASE_URL) -> list[Path]:
    """Record the live API: each batch under its status, then an unknown id, no key and a bad key."""
    cassettes: dict[str, str] = {}
    for batch_id in batch_ids:
        status, cassette = _record(base_url, batch_id, api_key, live=True)
        cassettes[_not_in(cassettes, f"live_{status}")] = cassette
    fetches: list[tuple[str, str, str | None]] = [
        ("live_unknown_id", UNKNOWN_ID, api_key),
        ("live_no_key", batch_ids[0], None),
        ("live_bad_key", batch_ids[0], BAD_KEY),
    ]
    for name, batch_id, key in fetches:
        cassettes[name] = _record(base_url, batch_id, key, live=True)[1]
    # Only now: a recording that fails leaves the old cassettes alone.
    return [_write(folder, name, cassette) for name, cassette in cassettes.items()]


def _record(base_url: str, batch_id: str, api_key: str | None, *, live: bool) -> tuple[str, str]:
    """Record one GET; return the status of the batch, or of the answer where it has none, and the cassette."""
    recorder = vcr.VCR(
        record_mode=vcr.mode.ALL,
        record_on_exception=False,
        decode_compressed_response=True,
        before_record_request=without_headers,
        before_record_response=without_personal_data if live else with_kept_headers,
    )
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "cassette.yaml"
        with recorder.use_cassette(file) as cassette:
            cassette.get_metadata("recorded_live", default=live)
            response = requests.get(
                f"{base_url}/phone/bulk",
                params={"id": batch_id},
                headers={} if api_key is None else {"x-api-key": api_key},
                allow_redirects=False,
                timeout=TIMEOUT_S,
            )
        text = (LIVE if live else NOT_LIVE) + file.read_text()
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RecordingError(f"the API answered {response.status_code}: nothing was written, try again later")
    if api_key is not None and api_key in text:
        raise RecordingError("the key is in what was recorded: nothing was written")
    return _status(response), text


def _status(response: requests.Response) -> str:
    try:
        word = response.json()["general"]["status"]
    except (ValueError, KeyError, TypeError):
        word = response.status_code
    return re.sub(r"\W+", "_", str(word).lower(), flags=re.ASCII)


def _not_in(names: Container[str], name: str) -> str:
    return next(free for free in chain([name], (f"{name}_{number}" for number in count(2))) if free not in names)


def _write(folder: Path, name: str, cassette: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(cassette)
    return path


def without_headers(request: Request) -> Request:
    """Take all headers out of a request, the key among them, and put the real host in."""
    address = urlsplit(request.uri)
    return Request(request.method, f"{BASE_URL}{address.path}?{address.query}", None, {})


def with_kept_headers(response: Mapping[str, Any]) -> dict[str, Any]:
    """Keep only the headers of a response that tests can need."""
    headers = {name.title(): values for name, values in response["headers"].items() if name.lower() in KEPT_HEADERS}
    return {**response, "headers": headers}


def without_personal_data(response: Mapping[str, Any]) -> dict[str, Any]:
    """Replace everything in a response that can be personal: what is not known to be harmless is replaced.

    Kept are the names of the fields, the batch id, the status, counts and credits, `index`, `qualification` and
    `country`, and of an error its message. A value is replaced by a fictional one of the same JSON type.
    """
    body = response["body"]["string"]
    try:
        content = json.dumps(_fictional(json.loads(body))).encode()
    except ValueError:
        content = b"(not JSON: taken out)" if body else b""
    return {**with_kept_headers(response), "body": {"string": content}}


def _fictional(body: Any) -> Any:
    if not isinstance(body, dict):
        return _same_type(body, 0)
    return {key: _LEVELS.get(key, _same_type)(value, 0) for key, value in body.items()}


def _general(general: Any, number: int) -> Any:
    return _fields(general, number, {"id": _kept, "status": _word, "custom": _custom})


def _stats(stats: Any, number: int) -> Any:
    if isinstance(stats, dict):
        return {key: _stats(value, number) for key, value in stats.items()}
    return _record_metrics(stats, number)


def _results(results: Any, number: int) -> Any:
    if not isinstance(results, list):
        return _same_type(results, number)
    return [_fields(result, position, _RESULT) for position, result in enumerate(results)]


def _fields(fields: Any, number: int, known: Mapping[str, Callable[[Any, int], Any]]) -> Any:
    if not isinstance(fields, dict):
        return _same_type(fields, number)
    return {key: known.get(key, _same_type)(value, number) for key, value in fields.items()}


def _kept(value: Any, number: int) -> Any:
    return value if isinstance(value, str) else _same_type(value, number)


def _word(value: Any, number: int) -> Any:
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z_]{1,20}", value) else _same_type(value, number)


def _record_metrics(value: Any, number: int) -> Any:
    """Keep a number, also one in a string: but not one that could be a phone number."""
    return value if re.fullmatch(r"-?\d{1,6}(\.\d{1,9})?", str(value)) else _same_type(value, number)


def _message(value: Any, number: int) -> Any:
    """Keep the API's sentence, without addresses and numbers."""
    return (
        re.sub(r"\S*(@|://)\S*|\+?\d[\d ().-]{5,}\d", "...", value)
        if isinstance(value, str)
        else _record_metrics(value, number)
    )


def _custom(value: Any, number: int) -> Any:
    """Replace the keys as well: all of it is the user's own."""
    return {"reference": f"reference-{number}"} if isinstance(value, dict) else _same_type(value, number)


def _filled(form: str) -> Callable[[Any, int], Any]:
    def fill(value: Any, number: int) -> Any:
        return form.format(number) if isinstance(value, str) else _same_type(value, number)

    return fill


def _phone(value: Any, number: int) -> Any:
    return f"+1{202 + number // 100}55501{number % 100:02d}" if isinstance(value, str) else _same_type(value, number)


def _params(params: Any, number: int) -> Any:
    return _fields(params, number, _PARAMS)


def _same_type(value: Any, number: int) -> Any:
    match value:
        case dict():
            return {key: _same_type(inner, number) for key, inner in value.items()}
        case list():
            return [_same_type(inner, number) for inner in value]
        case str():
            return f"text-{number}"
        case bool() | None:
            return value
        case _:
            return type(value)(number)


_LEVELS: Final[Mapping[str, Callable[[Any, int], Any]]] = {
    "general": _general,
    "stats": _stats,
    "results": _results,
    "message": _message,
    "retry_after": _record_metrics,
}
_RESULT: Final[Mapping[str, Callable[[Any, int], Any]]] = {
    "index": _record_metrics,
    "qualification": _word,
    "number": _phone,
    "country": _word,
    "params": _params,
    "custom": _custom,
}
_PARAMS: Final[Mapping[str, Callable[[Any, int], Any]]] = {
    "linkedin_url": _filled("https://www.linkedin.example/in/person-{}"),
    "firstname": _filled("First{}"),
    "lastname": _filled("Last{}"),
    "company_domain": _filled("company-{}.example"),
    "company_name": _filled("Company {}"),
}


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cassettes.record", description="Write the HTTP cassettes.")
    parser.add_argument("batch_ids", nargs="*", metavar="BATCH_ID", help="record these live, with ENROW_API_KEY")
    batch_ids = parser.parse_args(arguments).batch_ids
    api_key = os.environ.get("ENROW_API_KEY", "").strip()
    if batch_ids and not api_key:
        parser.error("recording live needs a key: set ENROW_API_KEY")
    try:
        paths = record_live(folder, batch_ids, api_key) if batch_ids else make_documented(folder)
    except (requests.RequestException, RecordingError) as error:
        parser.exit(1, f"error: {error}\n")
    for path in paths:
        print(os.path.relpath(path))  # noqa: T201 - a command: print is how it answers
    return 0


if __name__ == "__main__":
    sys.exit(main())
