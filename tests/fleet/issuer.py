"""An issuer of access tokens, at an address of loopback: its metadata, its keys and its tokens."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

RESOURCE = "https://mcp.example.com/mcp"


@cache
def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    """A private key."""
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """A private key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def jwk_of(private: Any, kid: str, **members: Any) -> dict[str, Any]:
    """The public key of a private one, as a JWK."""
    kind = RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else ECAlgorithm
    return {**kind.to_jwk(private.public_key(), as_dict=True), "kid": kid, **members}


def encode(part: bytes | str | dict[str, Any]) -> str:
    """A part of a token."""
    text = json.dumps(part) if isinstance(part, dict) else part
    return urlsafe_b64encode(text.encode() if isinstance(text, str) else text).decode().rstrip("=")


class Issuer:
    """What the issuer answers now, and how often it was asked.

    Attributes:
        url: its identifier.
        answers: a body, or a status and headers, by path.
        asked: the paths of all requests.
    """

    def __init__(self, url: str = "https://login.example.com") -> None:
        self.url = url
        self.asked: list[str] = []
        self.answers: dict[str, Any] = {
            "/.well-known/openid-configuration": {"issuer": url, "jwks_uri": f"{url}/keys"},
            "/keys": {"keys": [jwk_of(rsa_key(), "rsa"), jwk_of(ec_key(), "ec", use="sig")]},
        }

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Valid claims, with changes; None removes one."""
        now = int(time())
        claims = {"iss": self.url, "aud": RESOURCE, "exp": now + 300, "iat": now, "sub": "ada"}
        claims |= {"groups": ["developers"], **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def sign(self, claims: Any = None, key: Any = None, alg: str = "RS256", **header: Any) -> str:
        """A token; its header names the key `rsa`, if it is not changed."""
        payload = self.claims() if claims is None else claims
        text = json.dumps(payload) if isinstance(payload, dict) else payload
        changed = {"kid": "rsa", "typ": "at+jwt", **header}
        changed = {name: value for name, value in changed.items() if value is not None}
        return PyJWS().encode(text.encode(), key or rsa_key(), alg, changed)


@contextmanager
def running() -> Iterator[Issuer]:
    """An issuer that answers."""
    issuer = Issuer()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            answer = issuer.answers.get(self.path, 404)
            status, headers = answer if isinstance(answer, tuple) else (200, {})
            status = answer if isinstance(answer, int) else status
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        issuer.__init__(f"http://127.0.0.1:{server.server_port}")  # type: ignore[misc]
        Thread(target=server.serve_forever, daemon=True).start()
        yield issuer
        server.shutdown()
