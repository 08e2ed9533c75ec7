"""The simulated API itself: its port, its routes, and the record of what was asked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qs

from .account import Account
from .admin import ADMIN, admin
from .responses import Response
from .rules import AccountRules
from .wire import Incoming, LoopbackServer

_NOT_LISTENING = "the simulated API listens only inside its with block"


@dataclass(frozen=True)
class Request:
    """A request that was made, and the status it was answered with.

    query: as sent, undecoded. batch_id: the decoded `id`, None if there was none or an empty one.
    headers: names in lower case; `x-api-key` is kept, so that tests can check it.
    status: 0 if the connection ended without a response.
    """

    method: str
    path: str
    query: str
    batch_id: str | None
    headers: Mapping[str, str]
    status: int


class SimulatedEnrow(Account):
    """The Enrow phone-bulk API as documented, on 127.0.0.1 while the `with` block runs.

    It answers `GET /phone/bulk?id=`, `POST /phone/bulk` and `GET /account/info`; the methods
    inherited from `Batches` decide what a batch id answers, those from `Account` what a POST does.
    """

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        api_key: str = "enrow-test-key",
        seed: int = 0,
        latency_s: float = 0.0,
        port: int = 0,
        *,
        unknown_id_status: Literal[400, 404] = 400,
        fetches_to_complete: int = 2,
        credits: int = 8_500,  # noqa: A002 - the API's own name
        rules: AccountRules | None = None,
        journal: Path | None = None,
    ) -> None:
        """Prepare, without listening yet.

        latency_s: seconds before every response. port: 0 takes any free one.
        unknown_id_status: 400, or 404 as on older pages.
        fetches_to_complete: fetches of a submitted batch before it is finished.
        credits: the balance at first. rules: how submitted batches are treated.
        journal: a file that keeps what is accepted; a server that opens it again goes on from there.
        """
        super().__init__(
            seed=seed,
            unknown_id_status=unknown_id_status,
            fetches_to_complete=fetches_to_complete,
            credits=credits,
            rules=rules or AccountRules(),
            journal=journal,
        )
        self.api_key = api_key
        self.latency_s = latency_s
        self._port = port
        self._server: LoopbackServer | None = None
        self._requests: list[Request] = []

    def __enter__(self) -> Self:
        self._stopping.clear()
        self._server = LoopbackServer(self._port, self._answer)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving; batches and the record of requests stay readable."""
        self._stopping.set()
        if self._server is not None:
            self._server.stop()
            self._server = None

    @contextmanager
    def refusing_connections(self) -> Iterator[None]:
        """End all connections and refuse new ones while the block runs: nothing reaches the API."""
        server = self._server
        if server is None:
            raise RuntimeError(_NOT_LISTENING)
        server.stop()
        try:
            yield
        finally:
            self._server = LoopbackServer(server.server_port, self._answer)

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        if self._server is None:
            raise RuntimeError(_NOT_LISTENING)
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in order, refused ones included."""
        with self._lock:
            return list(self._requests)

    def _answer(self, incoming: Incoming) -> Response:
        if incoming.path.startswith(ADMIN):
            return admin(self, incoming)
        batch_id = next(iter(parse_qs(incoming.query).get("id", [])), None)
        response = self._route(incoming, batch_id)
        request = Request(incoming.method, incoming.path, incoming.query, batch_id, incoming.headers, response.status)
        with self._lock:
            self._requests.append(request)
        return replace(response, delay_s=self.latency_s + response.delay_s)

    def _route(self, incoming: Incoming, batch_id: str | None) -> Response:
        key = incoming.headers.get("x-api-key")
        if not key:
            return Response.no_key()
        if key != self.api_key:
            return Response.bad_key()
        match incoming.method, incoming.path:
            case "GET", "/phone/bulk":
                return self.fetch(batch_id) if batch_id else Response.missing_id()
            case "POST", "/phone/bulk":
                return self.submit(incoming.body)
            case "GET", "/account/info":
                return self.info()
        return Response.message(404, "Not found")
