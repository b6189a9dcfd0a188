"""One login: from the first 401 to a token that the server accepts, by way of a person's browser.

Knows the SDK's flow only by `sdk`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from httpx2 import Request, Response
from mcp.client.auth.utils import (
    build_protected_resource_metadata_discovery_urls,
    create_oauth_metadata_request,
    handle_protected_resource_response,
    validate_authorization_response_iss,
)
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull
from pydantic import AnyUrl

from pipeguard.auth import ring
from pipeguard.auth.callback import Callback, port_of_last
from pipeguard.auth.place import Place
from pipeguard.auth.sdk import (
    FlowStorage,
    browser_url,
    drive,
    find_expiry,
    must_be_fit,
    probe,
    provider,
    restored_flow,
    send_step,
    stored_fields,
)
from pipeguard.auth.server import SHOWN_CHARS, origin
from pipeguard.auth.store import LoginStore, Registration, Secrets, StoredLogin
from pipeguard.auth.tokens import revoke
from pipeguard.auth.wire import Wire, mask
from pipeguard.errors import AuthError, LoginNeededError
from pipeguard.transports.http import challenge
from pipeguard.transports.http.challenge import FORBIDDEN, SCOPE_MISSING, UNAUTHORIZED
from pipeguard.unicode.display import show

BROWSER_SECONDS = 300.0  # for a person to log in


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """A person's options for a login; "" if not given.

    Attributes:
        server: the server's canonical URI.
        name: a name for it.
        place: the store of its secrets.
        scope: the scope to request, instead of the server's choice.
        client_id: the id of a client registered by hand.
        document: the URL of a client id metadata document.
        redirect_uri: the redirect URI to use.
        ca: a file of certificate authorities to trust.
        timeout_seconds: how long to wait for the person.
        token_host: the token endpoint's host, if it differs from the login page's.
        legacy: accept a server of 2025-03-26 without metadata, which cannot promise PKCE.
    """

    server: str
    name: str = ""
    place: Place = Place.KEYRING
    scope: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    document: str = ""
    redirect_uri: str = ""
    ca: str = ""
    timeout_seconds: float = BROWSER_SECONDS
    token_host: str = ""
    legacy: bool = False


async def run_login(
    store: LoginStore, request: LoginRequest, show: Callable[[str, Callback], None]
) -> StoredLogin:
    """Log in to a server, and store the login.

    Args:
        store: for the login.
        request: the person's options.
        show: gets the URL for the browser, and the callback that waits for the answer.

    Returns:
        The stored login.

    Raises:
        AuthError: the server needs no login, a party refused it, or the person took too long.
        StateError: it could not be stored.
    """
    if request.place is Place.KEYRING:
        await asyncio.to_thread(ring.must_work)
    before = None
    with contextlib.suppress(LoginNeededError):  # this login replaces the lost one
        before = await asyncio.to_thread(store.read, request.server)
    last = before[0] if before else None
    with Callback(request.redirect_uri, port_of_last(last)) as callback:
        attempt = _Attempt(request, before, callback, show)
        async with Wire(request.server, request.ca) as wire:
            login, secrets = await attempt.run(wire)
    await asyncio.to_thread(_save, store, login, secrets)
    return login


class _Attempt:
    """One login in progress."""

    def __init__(
        self,
        request: LoginRequest,
        before: tuple[StoredLogin, Secrets] | None,
        callback: Callback,
        show: Callable[[str, Callback], None],
    ) -> None:
        self._request = request
        self._last = before[0] if before else None
        self._callback = callback
        self._show = show
        client, self._registration = _client(request, before, callback.uri)
        self._flow = provider(
            request.server,
            callback.uri,
            FlowStorage(client),
            (self._open_page, self._wait_for_answer),
            request.document or None,
        )
        self._probe = probe(request.server)
        self._was_challenged = False
        self._final_status = 0

    async def run(self, wire: Wire) -> tuple[StoredLogin, Secrets]:
        """Log in; nothing is stored."""
        self._wire = wire
        await drive(self._flow, self._probe, self._send)
        login, secrets = self._outcome()
        if self._final_status in (UNAUTHORIZED, FORBIDDEN):
            await revoke(login, secrets)
            raise AuthError(
                f"{login.server} refuses the token that {login.issuer or 'it'} just issued for it "
                f"({self._final_status}): it may be for another audience, or lack a scope.\n"
                "  Nothing was stored. Whoever runs the server can tell what it needs."
            )
        return login, secrets

    async def _send(self, request: Request) -> Response:
        if request is not self._probe:
            return await send_step(self._flow, self._wire, request)
        answer = await self._wire.send(request, body=False)
        if self._was_challenged:
            self._final_status = answer.status_code
            return Response(answer.status_code, request=request)
        self._was_challenged = True
        demand = challenge.read(", ".join(answer.headers.get_list("www-authenticate")))
        if answer.status_code != UNAUTHORIZED and demand.error != SCOPE_MISSING:
            await self._must_have_metadata(answer)
        if demand.schemes and "bearer" not in demand.schemes:
            raise AuthError(
                f"{self._request.server} asks for {show(', '.join(demand.schemes), 60)}, and not "
                "for an OAuth login.\n  Send that in a header:  "
                "pipeguard wrap --header-env NAME=VAR --upstream …"
            )
        scope = self._request.scope or demand.scope
        if self._last and self._last.wanted and not self._request.scope:
            scope = challenge.join(self._last.scope, self._last.wanted, demand.scope)
        header = demand._replace(scope=scope, error="").header
        return Response(UNAUTHORIZED, headers={"WWW-Authenticate": header}, request=request)

    async def _must_have_metadata(self, answer: Response) -> None:
        """Refuse a server that neither challenges the probe nor has metadata.

        A server may answer some requests without a login and need one for others.
        """
        server = self._request.server
        for url in build_protected_resource_metadata_discovery_urls(None, server):
            response = await self._wire.send(create_oauth_metadata_request(url))
            if await handle_protected_resource_response(response):
                return
        where = show(answer.headers.get("location", ""), SHOWN_CHARS)
        raise AuthError(
            f"{server} answers {answer.status_code} to a request without a token, and has no "
            f"metadata that says where to log in.{where and f' It points to {where!r}.'}\n"
            "  If it is the right address, it needs no login."
        )

    async def _open_page(self, url: str) -> None:
        """Show a person the login page (the SDK's redirect handler)."""
        request = self._request
        must_be_fit(self._flow, token_host=request.token_host, legacy=request.legacy)
        url = browser_url(self._flow, url)
        await self._wire.must_reach(url)
        state = parse_qs(urlsplit(url).query).get("state", [""])[0]
        self._callback.expect(state, url)
        await asyncio.to_thread(self._show, url, self._callback)  # some browsers block

    async def _wait_for_answer(self) -> AuthorizationCodeResult:
        """Wait for the browser's answer (the SDK's callback handler)."""
        answer = await self._callback.answer(self._request.timeout_seconds)
        metadata = self._flow.context.oauth_metadata
        iss = answer.iss
        if metadata is None and iss == origin(self._request.server):
            # MCP 2025-03-26 basic/authorization: without metadata the server's origin is the issuer
            iss = None
        # RFC 9207, 2.4: before any other use of the answer, even of an error.
        validate_authorization_response_iss(iss, metadata)
        if answer.code is None:
            why = mask(": ".join(filter(None, (answer.error, answer.description))), ())
            raise AuthError(f"the login to {self._request.server} was refused: {why}.")
        return AuthorizationCodeResult(code=answer.code, state=answer.state, iss=iss)

    def _outcome(self) -> tuple[StoredLogin, Secrets]:
        request = self._request
        context = self._flow.context
        last = self._last
        client = context.client_info
        tokens = context.current_tokens
        if client is None or tokens is None:
            raise AuthError(f"the login to {request.server} ended without a token.")
        if context.oauth_metadata is not None and client.issuer is None:
            client.issuer = str(context.oauth_metadata.issuer)
        registration = self._registration
        if registration is None:
            is_document = client.client_id == request.document
            registration = Registration.DOCUMENT if is_document else Registration.DYNAMIC
        secrets = Secrets(
            tokens.access_token, tokens.refresh_token or "", client.client_secret or ""
        )
        granted = (tokens.scope or "").split()
        missing = [name for name in (last.wanted if last else "").split() if name not in granted]
        login = StoredLogin(
            server=request.server,
            name=request.name or (last.name if last else urlsplit(request.server).netloc),
            issuer=str(context.oauth_metadata.issuer) if context.oauth_metadata else "",
            place=request.place,
            client=stored_fields(client),
            registration=registration,
            metadata=stored_fields(context.oauth_metadata),
            resource_metadata=stored_fields(context.protected_resource_metadata),
            scope=tokens.scope or "",
            wanted=" ".join(missing) if granted else "",
            obtained_at=time.time(),
            expires_at=find_expiry(tokens),
            ca=request.ca,
            has_refresh=bool(tokens.refresh_token),
        )
        return login, secrets


def _client(
    request: LoginRequest, before: tuple[StoredLogin, Secrets] | None, redirect_uri: str
) -> tuple[OAuthClientInformationFull | None, Registration | None]:
    """The registration to use: one made by hand, or the last login's if it is still valid."""
    uris = [AnyUrl(redirect_uri)]
    if request.client_id:
        client = OAuthClientInformationFull(
            client_id=request.client_id,
            client_secret=request.client_secret or None,
            token_endpoint_auth_method=None if request.client_secret else "none",
            redirect_uris=uris,
        )
        return client, Registration.GIVEN
    if before is None or request.document or not before[0].client:
        return None, None
    login, secrets = before
    last_client = restored_flow(login, secrets)[0].context.client_info
    if last_client is None:
        return None, None
    if login.registration is Registration.DYNAMIC and (
        uris[0] not in (last_client.redirect_uris or ())  # its port is taken now
        # RFC 7591, 3.2.1: 0 is never.
        or 0 < (last_client.client_secret_expires_at or 0) <= time.time()
    ):
        return None, None
    return last_client, login.registration


def _save(store: LoginStore, login: StoredLogin, secrets: Secrets) -> None:
    with store.lock(login.server):
        store.save(login, secrets)
