"""The official SDK's OAuth client, driven by hand: its flow asks, we send, and look at each answer.

The SDK discovers, registers, makes PKCE and `state`, and checks issuers. It does not know, and this
module adds: metadata that outlives a run, a server without S256, an authorization server that
registers nobody, how a client id that was given by hand shows its secret, and errors without the
peer's whole body in them. Its logs would hold such bodies, so they are switched off.
"""

from __future__ import annotations

import json
import logging
import shlex
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.shared.auth import (
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from pydantic import AnyUrl, ValidationError

from pipeguard.auth.server import SHOWN_CHARS, login_command, must_be_safe
from pipeguard.auth.store import Secrets, StoredLogin
from pipeguard.auth.wire import Wire, masked, refusal
from pipeguard.core.unicode.display import shown
from pipeguard.errors import AuthError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from mcp.shared.auth import AuthorizationCodeResult

CLIENT_NAME = "PipeGuard"
# The SDK sends RFC 8707's `resource` to a server without metadata if this says so, as R3+ ask for.
PROTOCOL_VERSION = "2025-11-25"
BAD_REQUEST = 400
LONGEST_SECONDS = 10 * 365 * 86400  # that a token is taken to live; beyond, nobody means a number
_PROBE = {"jsonrpc": "2.0", "id": 1, "method": "ping"}  # opens no session, and does nothing

for _name in ("mcp", "httpx2", "httpcore2"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False


class FlowStorage:
    """What the SDK would store: held until we know that it is worth it (mcp TokenStorage)."""

    def __init__(
        self, client: OAuthClientInformationFull | None, tokens: OAuthToken | None = None
    ) -> None:
        self.client = client
        self.tokens = tokens

    async def get_tokens(self) -> OAuthToken | None:
        """The tokens that there are."""
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Hold new tokens.

        Raises:
            AuthError: one of them cannot stand in a request (RFC 6749, appendix A.12 and A.17).
        """
        for token in filter(None, (tokens.access_token, tokens.refresh_token)):
            if not (token.isascii() and token.isprintable() and " " not in token):
                raise AuthError("the authorization server gave a token that cannot be sent.")
        if not tokens.access_token:
            raise AuthError("the authorization server gave an empty token.")
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Our registration."""
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Hold a new registration."""
        self.client = client_info


def provider(
    server: str,
    redirect_uri: str,
    kept: FlowStorage,
    ask: Callable[[str], Awaitable[None]] | None = None,
    answer: Callable[[], Awaitable[AuthorizationCodeResult]] | None = None,
    document: str | None = None,
) -> OAuthClientProvider:
    """The SDK's flow for one server.

    Args:
        server: its canonical URI.
        redirect_uri: where the browser comes back to.
        kept: registration and tokens, if there are any.
        ask: gets the URL that a person's browser is to open.
        answer: waits for what came back.
        document: the URL of a client id metadata document, if there is one.

    Raises:
        AuthError: that URL cannot be one.
    """
    try:
        return OAuthClientProvider(
            server,
            OAuthClientMetadata(redirect_uris=[AnyUrl(redirect_uri)], client_name=CLIENT_NAME),
            kept,
            ask,
            answer,
            document,
        )
    except ValueError:  # the only one that it raises
        raise AuthError("a client id metadata document has an https URL with a path.") from None


def restored(login: StoredLogin, secrets: Secrets) -> tuple[OAuthClientProvider, FlowStorage]:
    """The flow as it stood at the end of a login, which renews what has ended.

    Raises:
        AuthError: what was kept is not understood.
    """
    try:
        client = OAuthClientInformationFull.model_validate(
            {**login.client, "client_secret": secrets.client_secret or None}
        )
        tokens = OAuthToken(
            access_token=secrets.access_token,
            refresh_token=secrets.refresh_token or None,
            scope=login.scope or None,
        )
        kept = FlowStorage(client, tokens)
        uri = client.redirect_uris[0] if client.redirect_uris else "http://127.0.0.1/callback"
        flow = provider(login.server, str(uri), kept)
        if login.metadata is not None:
            flow.context.oauth_metadata = OAuthMetadata.model_validate(login.metadata)
        if login.resource_metadata is not None:
            flow.context.protected_resource_metadata = ProtectedResourceMetadata.model_validate(
                login.resource_metadata
            )
    except ValidationError:
        raise AuthError(
            f"the login of {login.server} is of another version.\n"
            f"  Log in anew:  {login_command(login.server)}"
        ) from None
    flow.context.client_info = client
    flow.context.token_expiry_time = 1.0  # long ago, so that the first thing it does is to refresh
    return flow, kept


def probe(server: str) -> httpx2.Request:
    """A request that a server answers with 401 if it wants a login, and that changes nothing."""
    return httpx2.Request(
        "POST",
        server,
        json=_PROBE,
        headers={
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": PROTOCOL_VERSION,
        },
    )


async def drive(
    flow: OAuthClientProvider,
    request: httpx2.Request,
    send: Callable[[httpx2.Request], Awaitable[httpx2.Response]],
) -> None:
    """Run the flow to its end; `send` gets each request, also the first one.

    Raises:
        AuthError: the flow found something wrong, or `send` did.
    """
    steps: AsyncGenerator[httpx2.Request, httpx2.Response] = flow.async_auth_flow(request)
    try:
        wanted = await anext(steps)
        while True:
            answer = await send(wanted)
            try:
                wanted = await steps.asend(answer)
            except (ArithmeticError, LookupError, TypeError, UnicodeError) as error:
                raise _odd(flow) from error
    except StopAsyncIteration:
        return
    except OAuthFlowError as error:
        raise AuthError(
            f"the login to {flow.context.server_url} was given up: "
            f"{masked(str(error), secrets_of(flow))}"
        ) from None
    except ValidationError:  # its text holds what was not valid
        raise _odd(flow) from None
    finally:
        await steps.aclose()


def _odd(flow: OAuthClientProvider) -> AuthError:
    """The SDK could make nothing of what it was told."""
    return AuthError(
        f"the authorization server of {flow.context.server_url} gave an answer that is not as "
        "OAuth has it."
    )


async def asked(flow: OAuthClientProvider, wire: Wire, request: httpx2.Request) -> httpx2.Response:
    """Send one of the flow's own requests: metadata, a registration, or one for tokens.

    Raises:
        AuthError: it was refused, or the registration would go to nobody.
    """
    metadata = flow.context.oauth_metadata
    registers = request.method == "POST" and flow.context.client_info is None
    if registers and metadata is not None and metadata.registration_endpoint is None:
        raise AuthError(
            f"{metadata.issuer} does not register clients by itself.\n"
            "  Register PipeGuard there by hand, with the redirect URI http://127.0.0.1/callback, "
            "and give --client-id (and --client-secret-env)."
        )
    answer = await wire.send(request)
    if registers and answer.status_code == BAD_REQUEST and (again := _without_scope(request)):
        answer = await wire.send(again)
    if request.method == "POST" and answer.status_code >= BAD_REQUEST:
        what = "registration" if registers else "token"
        sent = dict(parse_qsl(request.content.decode("utf-8", "replace")))
        hidden = (*secrets_of(flow), sent.get("code", ""), sent.get("code_verifier", ""))
        _, told = refusal(answer, hidden)
        raise AuthError(f"no {what}: {told}")
    return answer


def _without_scope(request: httpx2.Request) -> httpx2.Request | None:
    """A registration without `scope`, which some take for OpenID's scopes alone (RFC 7591, 2)."""
    told = json.loads(request.content)
    if told.pop("scope", None) is None:
        return None
    return httpx2.Request("POST", request.url, json=told)


def must_be_fit(flow: OAuthClientProvider, *, token_host: str = "", legacy: bool = False) -> None:
    """Before a person is asked: the authorization server can do what MCP wants of it.

    Also chooses how a client that was registered by hand shows its secret (RFC 8414, 2).

    Args:
        flow: after discovery and registration.
        token_host: where codes may go although the login page is elsewhere, as a person said.
        legacy: a person said that a server without metadata is fine.

    Raises:
        AuthError: it has no PKCE with S256, or endpoints that must not be asked.
    """
    context = flow.context
    metadata = context.oauth_metadata
    if metadata is None:  # R2 basic/authorization: endpoints at the server's own origin
        if not legacy:
            raise AuthError(
                f"{context.server_url} has no metadata that say where to log in, and none that it"
                " has PKCE with S256, without which a code could be stolen on its way.\n"
                "  Servers of MCP 2025-03-26 may be so. If you trust this one:  "
                f"{login_command(context.server_url)} --legacy"
            )
        return
    login, tokens = str(metadata.authorization_endpoint), str(metadata.token_endpoint)
    for endpoint in (login, tokens):
        must_be_safe(endpoint, context.server_url)
        if "#" in endpoint:
            raise AuthError(f"{metadata.issuer} names an endpoint with a fragment (RFC 6749, 3.1).")
    if "S256" not in (metadata.code_challenge_methods_supported or ()):
        raise AuthError(
            f"{metadata.issuer} does not say that it has PKCE with S256, so a code could be stolen "
            "on its way (MCP basic/authorization). It is not used."
        )
    if not metadata.authorization_response_iss_parameter_supported:
        _must_be_one_party(context.server_url, login, tokens, token_host)
    client = context.client_info
    if client and client.client_secret and not client.token_endpoint_auth_method:
        known = metadata.token_endpoint_auth_methods_supported or ["client_secret_basic"]
        by_form = "client_secret_basic" not in known and "client_secret_post" in known
        client.token_endpoint_auth_method = "client_secret_" + ("post" if by_form else "basic")


# Login pages whose token endpoint is at another host of the same company, by its own metadata.
_SAME_PARTY = {"accounts.google.com": "oauth2.googleapis.com"}


def _must_be_one_party(server: str, login: str, tokens: str, token_host: str) -> None:
    """Refuse a login page of one server and a token endpoint of another (RFC 9700, 4.4).

    A hostile server could name an honest one's page and have us send it the code that this gives.
    An answer with `iss` (RFC 9207) would tell; where none is promised, the hosts must be the same.

    Raises:
        AuthError: they are not.
    """
    page, place = urlsplit(login), urlsplit(tokens)
    if (page.scheme, page.netloc) == (place.scheme, place.netloc):
        return
    if place.netloc in (token_host, _SAME_PARTY.get(page.netloc)):
        return
    raise AuthError(
        f"{server} has you log in at {shown(page.netloc, SHOWN_CHARS)}, and would have what that"
        f" gives sent to {shown(place.netloc, SHOWN_CHARS)}. Nothing proves that both are one party"
        " (RFC 9207), so a code could be stolen.\n"
        f"  If they are:  {login_command(server)} --token-host {shlex.quote(place.netloc)}"
    )


def browser_url(flow: OAuthClientProvider, url: str) -> str:
    """The URL for the browser, right also where the endpoint has a query of its own.

    RFC 6749, 3.1, allows one; the SDK then writes a second question mark.
    """
    metadata = flow.context.oauth_metadata
    endpoint = str(metadata.authorization_endpoint) if metadata else ""
    if urlsplit(endpoint).query and url.startswith(f"{endpoint}?"):
        return f"{endpoint}&{url.removeprefix(f'{endpoint}?')}"
    return url


def secrets_of(flow: OAuthClientProvider) -> tuple[str, ...]:
    """What a peer could say back to us, and must not be shown."""
    client, tokens = flow.context.client_info, flow.context.current_tokens
    return tuple(
        filter(
            None,
            (
                client.client_secret if client else None,
                tokens.access_token if tokens else None,
                tokens.refresh_token if tokens else None,
            ),
        )
    )


def kept_client(client: OAuthClientInformationFull) -> dict[str, object]:
    """A registration as it is kept, without its secret."""
    return _dump(client, exclude={"client_secret"})


def kept_metadata(metadata: OAuthMetadata | ProtectedResourceMetadata | None) -> Any:
    """Metadata as it is kept, or None."""
    return None if metadata is None else _dump(metadata)


def ends_at(tokens: OAuthToken) -> float | None:
    """When an access token ends, in seconds since the epoch; None where nobody said."""
    if tokens.expires_in is None:
        return None
    return time.time() + min(max(tokens.expires_in, 0), LONGEST_SECONDS)


def _dump(model: Any, exclude: set[str] | None = None) -> dict[str, object]:
    dumped: dict[str, object] = model.model_dump(mode="json", exclude_none=True, exclude=exclude)
    return dumped
