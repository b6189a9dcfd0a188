"""The HTTP requests of a login, each to an address that is allowed; knows no flow, stores nothing.

No redirect is followed here. The SDK's flow follows one within its origin, as a new request.
"""

import asyncio
import contextlib
import json
import re
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from pipeguard.auth.server import PORTS, SHOWN_CHARS, must_be_safe
from pipeguard.detect.checks.addresses import Reach, find_reach
from pipeguard.detect.flows.known_secrets import MASK, KnownSecrets
from pipeguard.errors import AuthError
from pipeguard.secrets_in_use import IN_USE
from pipeguard.unicode.display import show
from pipeguard.version import VERSION

LIMIT_BYTES = 2**20  # of an answer: metadata and tokens are a few KiB
TIMEOUT_SECONDS = 30.0  # for a whole request
_AGENT = f"pipeguard/{VERSION}"


MAX_ADDRESSES = 4  # tried of one name
_NEAR = {Reach.PRIVATE, Reach.SHARED}
_NEVER = {Reach.METADATA, Reach.RESERVED}


class _AllowedAddresses:
    """The addresses that one server may send us to: public ones, and ones as near as its own.

    Args:
        server: the server's canonical URI.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._allowed: frozenset[Reach] | None = None

    async def resolve(self, url: str) -> list[str]:
        """The addresses of a URL's host; empty if a proxy is used for it.

        Raises:
            AuthError: it leads to a network that this server must not send us to.
            OSError: the name cannot be resolved.
        """
        proxy = find_proxy(url)
        if proxy and not _is_plain(url):
            return []  # the proxy resolves its name
        addresses = await _resolve(url)
        if self._allowed is None and _host_and_port(url) == _host_and_port(self._server):
            # The address in use counts: its name may resolve to another one in a moment.
            self._allowed = _allowed_networks(map(find_reach, addresses))
        allowed = await self._allowed_reaches()
        for address in addresses:
            reach = find_reach(address)
            if reach not in allowed:
                raise AuthError(
                    f"{self._server} sends us to {show(url, SHOWN_CHARS)!r}, which is not allowed:"
                    f"\n  it leads to {address} ({reach.value}), where a server on the public"
                    " network has no business."
                )
        return [] if proxy else addresses[:MAX_ADDRESSES]

    async def _allowed_reaches(self) -> frozenset[Reach]:
        if self._allowed is None:
            try:
                is_unknown = find_proxy(self._server) and not _is_plain(self._server)
                own = [] if is_unknown else await _resolve(self._server)
            except OSError:
                own = []
            self._allowed = _allowed_networks({find_reach(address) for address in own})
        return self._allowed


def _allowed_networks(own: Iterable[Reach]) -> frozenset[Reach]:
    """The networks allowed to a server on these; a public server gets the public one only."""
    reaches = frozenset(own)
    if not reaches or Reach.PUBLIC in reaches:
        return frozenset({Reach.PUBLIC})
    near = _NEAR if reaches & {*_NEAR, Reach.LOOPBACK} else set()
    return (frozenset({Reach.PUBLIC}) | near | reaches) - _NEVER


async def _resolve(url: str) -> list[str]:
    parts = urlsplit(url)
    port = parts.port or PORTS.get(parts.scheme, 0)
    loop = asyncio.get_running_loop()
    try:
        answers = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is empty or too long (RFC 1035, 2.3.4)
        raise OSError(f"{show(parts.hostname or '', SHOWN_CHARS)} is not a host name") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


def find_proxy(url: str) -> str:
    """The proxy that the user's environment names for a URL, or ""."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if not proxy or proxy_bypass(parts.hostname or ""):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_plain(url: str) -> bool:
    """True for a host that needs no resolver: an address in any notation, or localhost."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    with contextlib.suppress(OSError, UnicodeError):
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
        return True
    return False


def _host_and_port(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or PORTS.get(parts.scheme)


class UnreachableError(AuthError):
    """The peer did not answer, or not usefully; a later attempt may work."""


class Wire:
    """An HTTP client for one server's login."""

    def __init__(self, server: str, ca: str = "") -> None:
        """Prepare the client.

        Args:
            server: the server's canonical URI.
            ca: a file of certificate authorities to trust instead of the system's, or "".

        Raises:
            AuthError: that file cannot be used.
        """
        self._server = server
        self._allowed = _AllowedAddresses(server)
        self._trusts = _trusting(ca) if ca else True
        # A request to an address that was checked goes there, and to no proxy.
        direct = httpx2.AsyncHTTPTransport(verify=self._trusts)
        self._clients = {"": _client(transport=direct)}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def send(self, request: httpx2.Request, *, body: bool = True) -> httpx2.Response:
        """Send a request and return its answer, whole or without its body.

        Raises:
            UnreachableError: there was no answer.
            AuthError: the address is not allowed, or the answer is too large.
        """
        url = request.url
        host = request.url.host
        must_be_safe(str(url), self._server)
        request.headers.setdefault("User-Agent", _AGENT)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._request(request)
                address = request.url.host
                async with contextlib.aclosing(answer):
                    content = await _content(answer, host) if body else b""
        except TimeoutError:
            raise UnreachableError(
                f"{host} gave no answer in {TIMEOUT_SECONDS:g} seconds."
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            why = re.sub(r"\A\[Errno -?\d+\] ", "", str(error))
            why = show(why, SHOWN_CHARS) or type(error).__name__
            why += "; see --ca" if "CERTIFICATE_VERIFY_FAILED" in why else ""
            raise UnreachableError(f"{host} cannot be reached: {why}") from None
        except ValueError:  # a peer's text in a header that cannot have it
            raise AuthError(f"an answer of {self._server} cannot be sent to {host}.") from None
        finally:
            request.url = url
        whole = httpx2.Response(
            answer.status_code,
            headers=[
                (name, value)
                for name, value in answer.headers.multi_items()
                if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
            ],
            content=content,
            request=request,
        )
        whole.next_request = _redirect(answer, address, url)
        return whole

    async def must_reach(self, url: str) -> None:
        """Refuse an address that this server must not send a person's browser to.

        Raises:
            AuthError: it leads to a network that the server must not send anybody to.
            UnreachableError: its name cannot be resolved.
        """
        must_be_safe(url, self._server)
        try:
            await self._allowed.resolve(url)
        except OSError as error:
            host = show(httpx2.URL(url).host, SHOWN_CHARS)
            raise UnreachableError(f"{host} cannot be found: {error.strerror or error}") from None

    async def _request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to an address that was checked; TLS and the server see its name."""
        name = request.url
        addresses = await self._allowed.resolve(str(name))
        if not addresses:
            proxy = find_proxy(str(name))
            if proxy not in self._clients:
                self._clients[proxy] = _client(proxy=proxy, verify=self._trusts)
            return await self._clients[proxy].send(request, stream=True)
        client = self._clients[""]
        if name.scheme == "https":
            request.extensions = {**request.extensions, "sni_hostname": name.host}
        for address in addresses[:-1]:
            request.url = name.copy_with(host=address)
            with contextlib.suppress(httpx2.ConnectError):
                return await client.send(request, stream=True)
        request.url = name.copy_with(host=addresses[-1])
        return await client.send(request, stream=True)


def _client(**options: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False, **options)


def _redirect(answer: httpx2.Response, address: str, url: httpx2.URL) -> httpx2.Request | None:
    """The request that a redirect asks for, with the host's name instead of its address."""
    following = answer.next_request
    if following is None:
        return None
    following.extensions.pop("sni_hostname", None)
    if following.url.host == address:
        following.url = following.url.copy_with(host=url.host)
        following.headers["Host"] = following.url.netloc.decode("ascii")
    return following


async def _content(answer: httpx2.Response, host: str) -> bytes:
    content = bytearray()
    async for chunk in answer.aiter_bytes():
        content += chunk
        if len(content) > LIMIT_BYTES:
            raise AuthError(f"{host} answers with more than {LIMIT_BYTES} bytes.")
    return bytes(content)


def refusal(answer: httpx2.Response, hidden: Iterable[str]) -> tuple[str, str]:
    """An authorization server's error code, and its explanation for a person (RFC 6749, 5.2).

    Args:
        answer: an answer of any status.
        hidden: secrets of the request, which must not be shown if the answer quotes them.
    """
    try:
        fields = json.loads(answer.content)
    except (ValueError, RecursionError):
        fields = None
    code = ""
    text = ""
    if isinstance(fields, dict):
        code = str(fields.get("error", ""))
        text = str(fields.get("error_description", ""))
    words = " ".join(filter(None, (code, text)))
    status = f"{answer.request.url.host} answers {answer.status_code}"
    return code, f"{status}: {mask(words, hidden)}" if words else status


def mask(text: str, hidden: Iterable[str]) -> str:
    """A peer's text, safe to show."""
    hidden = tuple(hidden)
    for secret in hidden:
        if secret:
            text = text.replace(secret, MASK)
    return show(KnownSecrets(hidden).mask(IN_USE.mask(text)), SHOWN_CHARS)


def _trusting(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise AuthError(f"{ca} is not a file of certificates: {error.strerror or error}.") from None
