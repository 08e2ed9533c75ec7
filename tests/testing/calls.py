"""Requests to the simulated API, and the bodies that its documentation shows."""

import json
import socket

import requests

from enrow_source.testing import SimulatedEnrow

KEY = "enrow-test-key"
DOCUMENTED_ID = "e3b61122-d6a6-4ea7-b331-9b734682a76a"
COMPLETED = {
    "general": {"id": DOCUMENTED_ID, "status": "completed"},
    "results": [
        {
            "country": "US",
            "index": 0,
            "number": "+15705551234",
            "params": {"linkedin_url": "https://www.linkedin.com/in/michael-scott"},
            "qualification": "found",
        },
        {
            "country": "US",
            "index": 1,
            "number": "+15705555678",
            "params": {"linkedin_url": "https://www.linkedin.com/in/dwight-schrute"},
            "qualification": "found",
        },
    ],
    "stats": {"credits_cost": 80, "credits_to_refund": 0, "found": 2, "requested": 2},
}
ONGOING = {
    "general": {"id": DOCUMENTED_ID, "status": "ongoing"},
    "stats": {"finished": 0, "requested": 2},
}
ERROR = {"message": "Could not retrieve bulk search results"}


def get(api: SimulatedEnrow, batch_id: str, key: str = KEY) -> requests.Response:
    return requests.get(
        f"{api.url}/phone/bulk",
        {"id": batch_id},
        headers={"x-api-key": key},
        timeout=5,
        allow_redirects=False,
    )


def ask(api: SimulatedEnrow, batch_id: str, timeout_s: float = 5, keep: str = "keep-alive") -> socket.socket:
    """Send one GET by hand, so that no client library smooths what comes back."""
    connection = socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2])), timeout_s)
    lines = (
        f"GET /phone/bulk?id={batch_id} HTTP/1.1",
        "Host: api.example",
        f"X-Api-Key: {KEY}",
        f"Connection: {keep}",
    )
    connection.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    return connection


def received(connection: socket.socket) -> tuple[bytes, bytes, type[OSError] | None]:
    """Read until the connection ends; return head, body and the error that ended it, if any."""
    data, ended_by = b"", None
    try:
        while piece := connection.recv(65_536):
            data += piece
    except OSError as error:
        ended_by = type(error)
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body, ended_by


def post(
    api: SimulatedEnrow, body: object, *, key: str = KEY, timeout_s: float = 5, session: requests.Session | None = None
) -> requests.Response:
    """POST the body as JSON; bytes go as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    client = session or requests
    return client.post(f"{api.url}/phone/bulk", data, headers={"x-api-key": key}, timeout=timeout_s)


def balance(api: SimulatedEnrow) -> int:
    """Return the credits that `GET /account/info` answers."""
    answer = requests.get(f"{api.url}/account/info", headers={"x-api-key": KEY}, timeout=5)
    credits_left: int = answer.json()["credits"]
    return credits_left
