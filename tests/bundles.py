"""An organisation: its keys, what they sign, right or wrong, and the web server that has it."""

import json
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import time
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeguard.config.bundle import TYPE, encode, write_key

STOPS_ALL = "servers: {block: ['*']}\n"


def join(header: object, payload: object, sign: Callable[[bytes], bytes]) -> str:
    """Make a compact JWS of two values or texts, whatever they are."""
    parts = (part if isinstance(part, str) else json.dumps(part) for part in (header, payload))
    signed = ".".join(encode(part.encode()) for part in parts)
    return f"{signed}.{encode(sign(signed.encode()))}"


class Signer:
    """One key of an organisation. Nothing that it signs is checked."""

    def __init__(self) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.jwk = write_key(self.private)
        self.header: dict[str, Any] = {"alg": "EdDSA", "kid": self.jwk["kid"], "typ": TYPE}

    def claims(self, version: object, **more: object) -> dict[str, Any]:
        return {"version": version, "iat": int(time()), "policy": STOPS_ALL, **more}

    def sign(self, version: object = 3, **more: object) -> str:
        return join(self.header, self.claims(version, **more), self.private.sign)

    def sign_as(self, payload: object = None, **header: object) -> str:
        """Sign a text or value, with a header in which None removes a member."""
        members = {**self.header, **header}
        head = {name: value for name, value in members.items() if value is not None}
        return join(head, payload or self.claims(3), self.private.sign)

    def follow(self, url: str) -> str:
        """The text of follow.yaml."""
        return json.dumps({"url": url, "key": self.jwk})


class Site:
    """A static web server with one file.

    Attributes:
        content: of the file.
        asked: the ETag in each request; empty for none.
    """

    def __init__(self, content: str = "") -> None:
        self.content = content
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = site.content.encode()
                etag = f'"{sha256(content).hexdigest()[:16]}"'
                site.asked.append(self.headers.get("If-None-Match", ""))
                is_same = site.asked[-1] == etag
                self.send_response(304 if is_same else 200)
                self.send_header("ETag", etag)
                self.send_header("Content-Length", "0" if is_same else str(len(content)))
                self.end_headers()
                self.wfile.write(b"" if is_same else content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/laptops.jws"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
