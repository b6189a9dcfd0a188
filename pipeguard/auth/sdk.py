"""The official SDK's OAuth client, driven step by step: we send its requests and see each answer.

The SDK discovers, registers, makes PKCE and `state`, and checks issuers. This module adds the
missing parts: metadata that outlives a run, a refusal of servers without S256 and of authorization
servers without registration, the way a client registered by hand sends its secret, and errors
without the peer's whole body. The SDK's logs would contain such bodies, so they are switched off.
"""

import json
import logging
import shlex
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from httpx2 import Request, Response
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from pydantic import AnyUrl, BaseModel, ValidationError

from pipeguard.auth.server import SHOWN_CHARS, login_command, must_be_safe
from pipeguard.auth.store import Secrets, StoredLogin
from pipeguard.auth.wire import Wire, mask, refusal
from pipeguard.errors import AuthError
from pipeguard.unicode.display import show

OpenPage = Callable[[str], Awaitable[None]]
WaitForAnswer = Callable[[], Awaitable[AuthorizationCodeResult]]

CLIENT_NAME = "PipeGuard"
# From 2025-06-18 on, the SDK sends RFC 8707's `resource` even to a server without metadata.
PROTOCOL_VERSION = "2025-11-25"
BAD_REQUEST = 400
LONGEST_SECONDS = 10 * 365 * 86400  # of a token's life; a larger number is taken for this one
_PROBE = {"jsonrpc": "2.0", "id": 1, "method": "ping"}  # opens no session and changes nothing

for _name in ("mcp", "httpx2", "httpcore2"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False


class FlowStorage:
    """The SDK's storage in memory, until the login has succeeded (mcp TokenStorage)."""

    def __init__(
        self, client: OAuthClientInformationFull | None, tokens: OAuthToken | None = None
    ) -> None:
        self.client = client
        self.tokens = tokens

    async def get_tokens(self) -> OAuthToken | None:
        """The stored tokens, or None."""
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Take new tokens.

        Raises:
            AuthError: one has characters that no token may have (RFC 6749, A.12 and A.17).
        """
        for token in filter(None, (tokens.access_token, tokens.refresh_token)):
            if not (token.isascii() and token.isprintable() and " " not in token):
                raise AuthError("the authorization server issued a token that cannot be sent.")
        if not tokens.access_token:
            raise AuthError("the authorization server issued an empty token.")
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Our registration."""
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Take a new registration."""
        self.client = client_info


def provider(
    server: str,
    redirect_uri: str,
    storage: FlowStorage,
    browser: tuple[OpenPage, WaitForAnswer] | None = None,
    document: str | None = None,
) -> OAuthClientProvider:
    """The SDK's flow for one server.

    Args:
        server: its canonical URI.
        redirect_uri: the URL that the browser returns to.
        storage: registration and tokens, if there are any.
        browser: opens a URL in a person's browser, and waits for its answer; None for a flow that
            only renews.
        document: the URL of a client id metadata document, if there is one.

    Raises:
        AuthError: that URL is not valid for such a document.
    """
    open_page, wait_for_answer = browser or (None, None)
    try:
        return OAuthClientProvider(
            server,
            OAuthClientMetadata(redirect_uris=[AnyUrl(redirect_uri)], client_name=CLIENT_NAME),
            storage,
            open_page,
            wait_for_answer,
            document,
        )
    except ValueError:  # the SDK raises it only for this reason
        raise AuthError("a client id metadata document has an https URL with a path.") from None


def restored_flow(login: StoredLogin, secrets: Secrets) -> tuple[OAuthClientProvider, FlowStorage]:
    """The flow in its state at the end of a login, ready to renew the tokens.

    Raises:
        AuthError: the stored login is not valid any more.
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
        storage = FlowStorage(client, tokens)
        uri = client.redirect_uris[0] if client.redirect_uris else "http://127.0.0.1/callback"
        flow = provider(login.server, str(uri), storage)
        if login.metadata is not None:
            flow.context.oauth_metadata = OAuthMetadata.model_validate(login.metadata)
        if login.resource_metadata is not None:
            flow.context.protected_resource_metadata = ProtectedResourceMetadata.model_validate(
                login.resource_metadata
            )
    except ValidationError:
        raise AuthError(
            f"the login of {login.server} was stored by another version.\n"
            f"  Log in again:  {login_command(login.server)}"
        ) from None
    flow.context.client_info = client
    flow.context.token_expiry_time = 1.0  # long ago, so that the flow begins with a refresh
    return flow, storage


def probe(server: str) -> Request:
    """A request that changes nothing; a server that needs a login answers it with 401."""
    return Request(
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
    request: Request,
    send: Callable[[Request], Awaitable[Response]],
) -> None:
    """Run the flow to its end; `send` gets each request, the first one included.

    Raises:
        AuthError: the flow or `send` failed.
    """
    steps: AsyncGenerator[Request, Response] = flow.async_auth_flow(request)
    try:
        following = await anext(steps)
        while True:
            answer = await send(following)
            try:
                following = await steps.asend(answer)
            except (ArithmeticError, LookupError, TypeError, UnicodeError) as error:
                raise _invalid_answer(flow) from error
    except StopAsyncIteration:
        return
    except OAuthFlowError as error:
        raise AuthError(
            f"the login to {flow.context.server_url} failed: {mask(str(error), list_secrets(flow))}"
        ) from None
    except ValidationError:  # its text quotes the peer's answer
        raise _invalid_answer(flow) from None
    finally:
        await steps.aclose()


def _invalid_answer(flow: OAuthClientProvider) -> AuthError:
    return AuthError(
        f"the authorization server of {flow.context.server_url} gave an answer that is not valid "
        "in OAuth."
    )


async def send_step(flow: OAuthClientProvider, wire: Wire, request: Request) -> Response:
    """Send one of the flow's own requests: for metadata, a registration, or tokens.

    Raises:
        AuthError: it was refused, or the authorization server registers no clients.
    """
    metadata = flow.context.oauth_metadata
    registers = request.method == "POST" and flow.context.client_info is None
    if registers and metadata is not None and metadata.registration_endpoint is None:
        raise AuthError(
            f"{metadata.issuer} does not register clients automatically.\n"
            "  Register PipeGuard there by hand, with the redirect URI http://127.0.0.1/callback, "
            "and give --client-id (and --client-secret-env)."
        )
    answer = await wire.send(request)
    if registers and answer.status_code == BAD_REQUEST and (again := _without_scope(request)):
        answer = await wire.send(again)
    if request.method == "POST" and answer.status_code >= BAD_REQUEST:
        what = "registration" if registers else "token"
        sent = dict(parse_qsl(request.content.decode("utf-8", "replace")))
        hidden = (*list_secrets(flow), sent.get("code", ""), sent.get("code_verifier", ""))
        _, why = refusal(answer, hidden)
        raise AuthError(f"no {what}: {why}")
    return answer


def _without_scope(request: Request) -> Request | None:
    """A registration without `scope`, if a server accepts only OpenID's (RFC 7591, 2)."""
    fields = json.loads(request.content)
    if fields.pop("scope", None) is None:
        return None
    return Request("POST", request.url, json=fields)


def must_be_fit(flow: OAuthClientProvider, *, token_host: str = "", legacy: bool = False) -> None:
    """Refuse an authorization server that does not meet MCP's requirements, before the login.

    Also chooses how a client registered by hand sends its secret (RFC 8414, 2).

    Args:
        flow: the flow, after discovery and registration.
        token_host: the host that a person allowed to get codes although the login page is
            elsewhere.
        legacy: a person accepts a server without metadata.

    Raises:
        AuthError: it has no PKCE with S256, or endpoints that must not be used.
    """
    context = flow.context
    metadata = context.oauth_metadata
    if metadata is None:  # MCP 2025-03-26 basic/authorization: endpoints at the server's own origin
        if not legacy:
            raise AuthError(
                f"{context.server_url} has no metadata that says where to log in and that it has"
                " PKCE with S256, without which a code could be stolen on its way.\n"
                "  Servers of MCP 2025-03-26 may have none. If you trust this one:  "
                f"{login_command(context.server_url)} --legacy"
            )
        return
    login = str(metadata.authorization_endpoint)
    tokens = str(metadata.token_endpoint)
    for endpoint in (login, tokens):
        must_be_safe(endpoint, context.server_url)
        if "#" in endpoint:
            raise AuthError(f"{metadata.issuer} names an endpoint with a fragment (RFC 6749, 3.1).")
    if "S256" not in (metadata.code_challenge_methods_supported or ()):
        raise AuthError(
            f"{metadata.issuer} does not say that it has PKCE with S256, so a code could be stolen "
            "on its way (MCP basic/authorization). PipeGuard does not use it."
        )
    if not metadata.authorization_response_iss_parameter_supported:
        _must_be_one_party(context.server_url, login, tokens, token_host)
    client = context.client_info
    if client and client.client_secret and not client.token_endpoint_auth_method:
        methods = metadata.token_endpoint_auth_methods_supported or ["client_secret_basic"]
        by_form = "client_secret_basic" not in methods and "client_secret_post" in methods
        client.token_endpoint_auth_method = "client_secret_" + ("post" if by_form else "basic")


# Login pages whose token endpoint is at another host of the same company, by its metadata.
_SAME_PARTY = {"accounts.google.com": "oauth2.googleapis.com"}


def _must_be_one_party(server: str, login: str, tokens: str, token_host: str) -> None:
    """Refuse a login page and a token endpoint of different parties (RFC 9700, 4.4).

    A hostile server could name an honest server's login page, and receive the code that it issues.
    An answer with `iss` (RFC 9207) would reveal that; if `iss` is not promised, the hosts must be
    the same.

    Raises:
        AuthError: they differ.
    """
    page = urlsplit(login)
    place = urlsplit(tokens)
    if (page.scheme, page.netloc) == (place.scheme, place.netloc):
        return
    if place.netloc in (token_host, _SAME_PARTY.get(page.netloc)):
        return
    raise AuthError(
        f"{server} has you log in at {show(page.netloc, SHOWN_CHARS)}, and the code for that sent"
        f" to {show(place.netloc, SHOWN_CHARS)}. Nothing proves that both are one party"
        " (RFC 9207), so a code could be stolen.\n"
        f"  If they are:  {login_command(server)} --token-host {shlex.quote(place.netloc)}"
    )


def browser_url(flow: OAuthClientProvider, url: str) -> str:
    """The URL for the browser, correct even if the endpoint has a query of its own.

    RFC 6749, 3.1, allows a query; the SDK then writes a second question mark.
    """
    metadata = flow.context.oauth_metadata
    endpoint = str(metadata.authorization_endpoint) if metadata else ""
    if urlsplit(endpoint).query and url.startswith(f"{endpoint}?"):
        return f"{endpoint}&{url.removeprefix(f'{endpoint}?')}"
    return url


def list_secrets(flow: OAuthClientProvider) -> tuple[str, ...]:
    """Secrets that a peer could quote in an answer, and that must not be shown."""
    client = flow.context.client_info
    tokens = flow.context.current_tokens
    secrets = [client.client_secret] if client else []
    secrets += [tokens.access_token, tokens.refresh_token] if tokens else []
    return tuple(filter(None, secrets))


def stored_fields(model: BaseModel | None) -> Any:
    """A registration without its secret, or metadata, as it is stored; None for None."""
    leave_out = {"client_secret"}
    return model and model.model_dump(mode="json", exclude_none=True, exclude=leave_out)


def find_expiry(tokens: OAuthToken) -> float | None:
    """The expiry of an access token, in seconds since the epoch; None if the server did not say."""
    if tokens.expires_in is None:
        return None
    return time.time() + min(max(tokens.expires_in, 0), LONGEST_SECONDS)
