"""A protected MCP server, made with the official SDK, for the environment of the test servers.

Its settings are an argument. It takes a token of the authorization server that is for it: a JWT by
its signature, issuer and audience, any other by asking for it (RFC 7662). The tool `wipe` wants one
more scope, which it asks for with 403 (RFC 6750, 3.1). It prints its URL once it listens.
"""

import asyncio
import hashlib
import json
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

SETTINGS = json.loads(sys.argv[1])
READ, WRITE = "mcp:read", "mcp:write"

listener = socket.create_server(("127.0.0.1", 0))
ORIGIN = f"http://127.0.0.1:{listener.getsockname()[1]}"
URL = f"{ORIGIN}/mcp"
ISSUER = SETTINGS["issuer"]
DENIED = Path(SETTINGS["denied"])  # hashes of tokens that somebody here does not want any more
JWKS = jwt.PyJWKClient(f"{ISSUER}/jwks")


class Verifier:
    """Asks the authorization server, or its keys, about each token."""

    async def verify_token(self, token: str) -> AccessToken | None:
        claims = await asyncio.to_thread(
            self._signed if token.count(".") == 2 else self._asked, token
        )
        digest = hashlib.sha256(token.encode()).hexdigest()
        if claims is None or digest in _denied():
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims.get("scope", "").split(),
            expires_at=claims["exp"],
            resource=claims["aud"],
        )

    def _signed(self, token: str) -> dict[str, Any] | None:
        try:
            key = JWKS.get_signing_key_from_jwt(token)
            return jwt.decode(token, key, algorithms=["RS256"], audience=URL, issuer=ISSUER)
        except jwt.PyJWTError:
            return None

    def _asked(self, token: str) -> dict[str, Any] | None:
        form = {"token": token, "client_id": "resource", "client_secret": SETTINGS["secret"]}
        request = urllib.request.Request(  # noqa: S310  the test's own server
            f"{ISSUER}/token/introspection", urlencode(form).encode()
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310  the test's own server
            claims: dict[str, Any] = json.load(answer)
        return claims if claims["active"] and claims["aud"] == URL else None


def _denied() -> str:
    return DENIED.read_text() if DENIED.exists() else ""


VERIFIER = Verifier()
mcp = MCPServer(
    "protected",
    token_verifier=VERIFIER,
    auth=AuthSettings.model_validate(
        {
            "issuer_url": SETTINGS["named_issuer"] or ISSUER,
            "resource_server_url": URL,
            "required_scopes": [READ],
            "validate_token_resource": True,
        }
    ),
)


@mcp.tool()
def look() -> str:
    """Look at something."""
    return "seen"


@mcp.tool()
def wipe() -> str:
    """Wipe something."""
    return "wiped"


inner = mcp.streamable_http_app(stateless_http=True, json_response=True)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The SDK's application, in which calls of `wipe` need one more scope."""
    if scope["type"] != "http" or scope["method"] != "POST":
        await inner(scope, receive, send)
        return
    body = b""
    while True:
        part = await receive()
        body += part.get("body", b"")
        if not part.get("more_body"):
            break
    token = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
    known = await VERIFIER.verify_token(token) if b'"wipe"' in body else None
    if known is not None and WRITE not in known.scopes:
        await _refuse(send)
        return
    parts = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again() -> Any:
        return next(parts, None) or await receive()

    await inner(scope, again, send)


async def _refuse(send: Any) -> None:
    metadata = f"{ORIGIN}/.well-known/oauth-protected-resource/mcp"
    asked = f'Bearer error="insufficient_scope", scope="{WRITE}", resource_metadata="{metadata}"'
    headers = [(b"www-authenticate", asked.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


print(json.dumps({"url": URL}), flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on")).run(sockets=[listener])
