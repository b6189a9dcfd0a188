"""Misbehaving parties, as HTTP servers of a test, with their answers as data."""

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Party:
    """A server with scripted answers that records its requests.

    Attributes:
        origin: its origin.
        answers: status, headers and body, by method and path. Otherwise it answers 404.
        asked: method and path of each request, with its body.
        authorizations: the field `Authorization` of each request.
    """

    origin: str = ""
    answers: dict[str, tuple[int, Mapping[str, str], object]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)


@contextmanager
def party(tls: ssl.SSLContext | None = None) -> Iterator[Party]:
    """Run one of them, listening on loopback."""
    told = Party()

    class Request(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            name = f"{self.command} {self.path.partition('?')[0]}"
            told.asked.append((name, body.decode()))
            told.authorizations.append(self.headers.get("Authorization"))
            status, headers, content = told.answers.get(name, (404, {}, {}))
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for key, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer  # noqa: N815  the library's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    told.origin = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()


def metadata(origin: str, **changed: object) -> dict[str, object]:
    """Make the metadata of an authorization server (RFC 8414, 2), all of it at one origin."""
    return {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/auth",
        "token_endpoint": f"{origin}/token",
        "registration_endpoint": f"{origin}/reg",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
    } | changed


def protected(told: Party, authorization_server: str, **changed: object) -> str:
    """Make a party a server that wants a login; its URL.

    If it is its own authorization server, it says so of itself, with some of it `changed`.
    """
    url = f"{told.origin}/mcp"
    if authorization_server == told.origin:
        described = metadata(told.origin, **changed)
        told.answers["GET /.well-known/oauth-authorization-server"] = (200, {}, described)
        told.answers["POST /reg"] = (201, {}, {"client_id": "c"})
    where = f"{told.origin}/.well-known/oauth-protected-resource/mcp"
    told.answers["POST /mcp"] = (
        401,
        {"WWW-Authenticate": f'Bearer resource_metadata="{where}"'},
        {},
    )
    told.answers["GET /.well-known/oauth-protected-resource/mcp"] = (
        200, {}, {
            "resource": url,
            "authorization_servers": [authorization_server],
            "scopes_supported": ["mcp:read"],
        },
    )  # fmt: skip
    return url
