"""The requests of a login, each to an address that may be asked; knows no flow, keeps nothing.

No redirect is followed here. The SDK's flow follows one within its origin, by asking us again.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING

import httpx2

from pipeguard.auth.server import SHOWN_CHARS, must_be_safe
from pipeguard.core.visible import shown
from pipeguard.errors import AuthError
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

LIMIT_BYTES = 2**20  # of an answer: metadata and tokens are a few KiB
TIMEOUT_SECONDS = 30.0  # for a whole request
MASK = "****"


class UnreachableError(AuthError):
    """Nobody answered, or not now: another time it may work."""


class Wire:
    """An HTTP client for one server's login."""

    def __init__(self, server: str, ca: str = "") -> None:
        """Prepare it.

        Args:
            server: its canonical URI.
            ca: a file of authorities to trust in place of the system's, or "".

        Raises:
            AuthError: that file cannot be used.
        """
        self._server = server
        self._client = httpx2.AsyncClient(
            verify=_trusting(ca) if ca else True,
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            headers={"User-Agent": f"pipeguard/{VERSION}"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def send(self, request: httpx2.Request, *, body: bool = True) -> httpx2.Response:
        """Send a request, and give its answer, whole or without a body.

        Raises:
            UnreachableError: nobody answered.
            AuthError: the address must not be asked, or the answer is too large.
        """
        url = str(request.url)
        must_be_safe(url, self._server)
        request.headers.setdefault("User-Agent", self._client.headers["User-Agent"])
        host = request.url.host
        content = bytearray()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._client.send(request, stream=True)
                try:
                    if body:
                        await _read(answer, content)
                finally:
                    await answer.aclose()
        except TimeoutError:
            raise UnreachableError(
                f"{host} gave no answer in {TIMEOUT_SECONDS:g} seconds."
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            why = shown(str(error), SHOWN_CHARS) or type(error).__name__
            raise UnreachableError(f"{host} cannot be asked: {why}") from None
        whole = httpx2.Response(
            answer.status_code,
            headers=[
                (name, value)
                for name, value in answer.headers.multi_items()
                if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
            ],
            content=bytes(content),
            request=request,
        )
        whole.next_request = answer.next_request
        return whole


async def _read(answer: httpx2.Response, into: bytearray) -> None:
    async for chunk in answer.aiter_bytes():
        into += chunk
        if len(into) > LIMIT_BYTES:
            raise AuthError(
                f"{answer.request.url.host} answers with more than {LIMIT_BYTES} bytes."
            )


def refusal(answer: httpx2.Response, hidden: Iterable[str]) -> tuple[str, str]:
    """An authorization server's error code, and what it says for a person (RFC 6749, 5.2).

    Args:
        answer: of any status.
        hidden: secrets that were in the request, which must not be shown if they come back.
    """
    try:
        told = json.loads(answer.content)
    except (ValueError, RecursionError):
        told = None
    code, text = "", ""
    if isinstance(told, dict):
        code, text = str(told.get("error", "")), str(told.get("error_description", ""))
    words = " ".join(filter(None, (code, text)))
    said = f"{answer.request.url.host} answers {answer.status_code}"
    return code, f"{said}: {masked(words, hidden)}" if words else said


def masked(text: str, hidden: Iterable[str]) -> str:
    """A peer's words, safe to show."""
    for secret in hidden:
        if secret:
            text = text.replace(secret, MASK)
    return shown(text, SHOWN_CHARS)


def _trusting(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise AuthError(f"{ca} is no file of certificates: {error.strerror or error}.") from None
