"""TLS: a certificate that nobody vouches for gets no key, whatever the environment says."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from enrow_source.api.client import EnrowClient
from enrow_source.errors import ErrorKind, RequestFailedError

KEY = "recognisable-key-7c1d"

# Signed by itself, for localhost; made for this test with `openssl req -x509`, and good for nothing else.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUTfiE8ItOQJ+ADF0qCfX4rlLSRCswCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzIyNDg1NFoYDzIxMjYxMDMw
MjI0ODU0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASbK0wX3se3i9o3YcCsende92lB2IXAKI3zn18zG20qWc+0UTjAXUO7
dhoYDq1xgUiYt1CD4cwn2zjOOz1/Mk5io28wbTAdBgNVHQ4EFgQUJ3AsvibtMtBH
ZwgcI1LTRJmVsDEwHwYDVR0jBBgwFoAUJ3AsvibtMtBHZwgcI1LTRJmVsDEwGgYD
VR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZI
zj0EAwIDSQAwRgIhAPXiNEOQ0IKohVKdSYcBm7LfWbALrYrviD2zj1EI33KGAiEA
rsDYQ+uEVViu/GqEA6ZY28QwW4jKxTmBD7EOJqsYjcQ=
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg2pWNXvwgRWePeebU
NqOPhw6N9mFUeQHYzM+SP0OlvsihRANCAASbK0wX3se3i9o3YcCsende92lB2IXA
KI3zn18zG20qWc+0UTjAXUO7dhoYDq1xgUiYt1CD4cwn2zjOOz1/Mk5i
-----END PRIVATE KEY-----
"""


class Server(HTTPServer):
    """Answers over TLS, with that certificate."""

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.keys: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """Say nothing of a handshake that the client breaks off."""


class Handler(BaseHTTPRequestHandler):
    """Keeps the keys that it is sent."""

    server: Server

    def do_GET(self) -> None:
        self.server.keys.append(self.headers["x-api-key"])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    file = tmp_path / "certificate.pem"
    file.write_text(CERTIFICATE, encoding="ascii")
    return file


@pytest.fixture
def server(certificate: Path) -> Iterator[Server]:
    with Server(certificate) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(server: Server) -> bytes:
    with EnrowClient(KEY, f"https://localhost:{server.server_port}") as client:
        return client.fetch_batch("batch").body


@pytest.mark.parametrize(
    "setting", ["", "PYTHONHTTPSVERIFY=0", "REQUESTS_CA_BUNDLE=", "CURL_CA_BUNDLE=", "SSL_NO_VERIFY=1"]
)
def test_untrusted_certificate_gets_no_key(server: Server, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    """A certificate that no trusted authority signed gets no key."""
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")
    if setting:
        monkeypatch.setenv(*setting.split("=", 1))
    with pytest.raises(RequestFailedError, match="certificate verify failed") as caught:
        fetch(server)
    assert (caught.value.kind, server.keys) == (ErrorKind.CONNECTION, [])


def test_trusted_certificate_is_accepted(server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that a trusted authority signed is accepted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert (fetch(server), server.keys) == (b"{}", [KEY])
