"""An organisation: its keys, what they sign, right or wrong, its web server, and who follows it."""

import json
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import time
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.utils import base64url_encode

from pipeguard.config.bundle import TYPE, write_key

STOPS_ALL = "servers: {block: ['*']}\n"


def join(header: object, payload: object, sign: Callable[[bytes], bytes]) -> str:
    """Make a compact JWS of two values or texts, whatever they are."""
    parts = (part if isinstance(part, str) else json.dumps(part) for part in (header, payload))
    signed = b".".join(base64url_encode(part.encode()) for part in parts)
    return b".".join((signed, base64url_encode(sign(signed)))).decode()


def make_token(policy: object = "", version: object = 1, **claims: object) -> str:
    """Make a bundle with a wrong signature: `wrap` and `serve` check none."""
    given = {"version": version, "iat": int(time()), "policy": policy, **claims}
    return join({"alg": "EdDSA"}, given, lambda _: b"signature")


def enrol(folder: Path, *tokens: str) -> Path:
    """Write an enrolment and its bundles into a folder; return the bundles' file."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    (folder / "follow.yaml").write_text("url: https://policies.example.com/mcp.jws\nkey: {}\n")
    bundles = folder / "bundles.jws"
    if tokens:
        bundles.write_text("".join(f"{token}\n" for token in tokens))
    return bundles


class Signer:
    """One key of an organisation. Nothing that it signs is checked."""

    def __init__(self) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.jwk = write_key(self.private.public_key())
        self.header: dict[str, Any] = {"alg": "EdDSA", "kid": self.jwk["kid"], "typ": TYPE}

    def claims(self, version: object, **more: object) -> dict[str, Any]:
        return {"version": version, "iat": int(time()), "policy": STOPS_ALL, **more}

    def sign(self, version: object = 3, **more: object) -> str:
        return join(self.header, self.claims(version, **more), self.private.sign)

    def sign_as(self, payload: object = None, **header: object) -> str:
        """Sign a text or value, with more members in the header."""
        return join({**self.header, **header}, payload or self.claims(3), self.private.sign)

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
