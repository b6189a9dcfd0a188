"""Logging in, renewing and logging out: what is asked for, what is kept, what is given back.

Knows the SDK's flow by `sdk` alone, and a person by the two functions that `Person` has.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth.utils import (
    build_protected_resource_metadata_discovery_urls,
    create_oauth_metadata_request,
    handle_protected_resource_response,
    validate_authorization_response_iss,
)
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull
from pydantic import AnyUrl

from pipeguard.auth import challenge, ring, sdk
from pipeguard.auth.callback import Callback, port_of_last
from pipeguard.auth.server import SHOWN_CHARS, origin, usual_name
from pipeguard.auth.store import LoginStore, Place, Registration, Secrets, StoredLogin
from pipeguard.auth.wire import UnreachableError, Wire, masked, refusal
from pipeguard.core.unicode.display import shown
from pipeguard.errors import AuthError, LoginNeededError, PipeGuardError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.client.auth import OAuthClientProvider

BROWSER_SECONDS = 300.0  # for a person to log in
UNAUTHORIZED, FORBIDDEN = 401, 403
SCOPE_MISSING = "insufficient_scope"  # RFC 6750, 3.1
ENDED = {"invalid_grant", "invalid_client", "unauthorized_client"}  # RFC 6749, 5.2: not a moment's


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants of a login; "" is nothing said.

    Attributes:
        server: its canonical URI.
        name: to call it by.
        place: for its secrets.
        scope: exactly this, in place of what the server asks for.
        client_id: as registered by hand.
        client_secret: of that client.
        document: the URL of a client id metadata document.
        redirect_uri: exactly this one.
        ca: a file of authorities to trust.
        timeout_seconds: for the person.
        token_host: of the token endpoint, where it is not that of the login page.
        legacy: take a server of 2025-03-26 without metadata, so without a word on PKCE.
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


async def log_in(
    store: LoginStore, wish: Wish, show: Callable[[str, Callback], None]
) -> StoredLogin:
    """Log in to a server, and keep what it gave.

    Args:
        store: where it is kept.
        wish: what the person said.
        show: gets the URL for the browser, and the callback that waits for it.

    Returns:
        What was kept.

    Raises:
        AuthError: there is nothing to log in to, somebody refused, or nobody came back.
        StateError: it could not be kept.
    """
    if wish.place is Place.KEYRING:
        await asyncio.to_thread(ring.must_work)
    before = None
    with contextlib.suppress(LoginNeededError):  # that is what this is about to mend
        before = await asyncio.to_thread(store.read, wish.server)
    last = before[0] if before else None
    with Callback(wish.redirect_uri or None, port_of_last(last)) as callback:
        attempt = _Attempt(wish, before, callback, show)
        async with Wire(wish.server, wish.ca) as wire:
            login, secrets = await attempt.run(wire)
    await asyncio.to_thread(_save, store, login, secrets)
    return login


async def renew(login: StoredLogin, secrets: Secrets) -> tuple[StoredLogin, Secrets]:
    """Get new tokens for the refresh token (RFC 6749, 6); nothing is stored.

    Returns:
        The login with new tokens; without a refresh token where it was refused for good.

    Raises:
        UnreachableError: the authorization server cannot tell now.
        AuthError: it refused for a reason that is not the token's.
    """
    flow, kept = sdk.restored(login, secrets)
    before = kept.tokens
    last = sdk.probe(login.server)
    ended: list[str] = []

    async with Wire(login.server, login.ca) as wire:

        async def send(request: httpx2.Request) -> httpx2.Response:
            if request is last:  # it never leaves: what we came for is in `kept`
                raise _Done
            answer = await wire.send(request)
            if answer.is_success or answer.next_request is not None:
                return answer
            code, told = refusal(answer, secrets.all())
            if code not in ENDED:
                raise UnreachableError(f"no new token for {login.server}: {told}")
            ended.append(code)
            raise _Done

        with contextlib.suppress(_Done):
            await sdk.drive(flow, last, send)
    now = time.time()
    if ended:
        if login.registration is Registration.DYNAMIC and ended != ["invalid_grant"]:
            login = replace(login, client={})  # the next login registers anew
        return login, replace(secrets, refresh_token="")
    tokens = kept.tokens
    if tokens is None or tokens is before:
        raise UnreachableError(f"no new token for {login.server}: the answer holds none.")
    fresh = replace(
        login,
        scope=tokens.scope or login.scope,
        obtained_at=now,
        expires_at=sdk.ends_at(tokens),
    )
    return fresh, replace(
        secrets,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token or "",
    )


class Ended(NamedTuple):
    """How a logout came out.

    Attributes:
        why_not: why the tokens are still good, in a sentence; "" where they are revoked.
        failed: whether it was tried.
    """

    why_not: str = ""
    failed: bool = False


async def log_out(store: LoginStore, server: str) -> Ended:
    """Give a login's tokens back, and forget it in any case.

    Raises:
        StateError: it cannot be removed.
        AuthError: the keyring did not let it go.
    """
    try:
        found = await asyncio.to_thread(store.read, server)
        ended = await revoke(*found) if found else Ended()
    except PipeGuardError as error:
        ended = Ended(f"the tokens could not be taken from the store: {error}", failed=True)
    await asyncio.to_thread(_forget, store, server)
    return ended


async def revoke(login: StoredLogin, secrets: Secrets) -> Ended:
    """Give tokens back to who gave them (RFC 7009)."""
    if not login.client:
        return Ended(f"{login.issuer} knows this client no more, so nothing could be revoked.")
    flow, _ = sdk.restored(login, secrets)
    metadata = flow.context.oauth_metadata
    if metadata is None or metadata.revocation_endpoint is None:
        return Ended(f"{login.issuer or login.server} revokes no tokens; they end by themselves.")
    try:
        async with Wire(login.server, login.ca) as wire:
            for hint, token in (
                ("refresh_token", secrets.refresh_token),
                ("access_token", secrets.access_token),
            ):
                if not token:
                    continue
                form = {"token": token, "token_type_hint": hint, "client_id": _id(flow)}
                form, headers = flow.context.prepare_token_auth(form, {})
                url = str(metadata.revocation_endpoint)
                answer = await wire.send(httpx2.Request("POST", url, data=form, headers=headers))
                if not answer.is_success:
                    code, told = refusal(answer, secrets.all())
                    if code != "unsupported_token_type":  # RFC 7009, 2.2.1: as JWTs often are
                        return Ended(f"the tokens were not revoked: {told}", failed=True)
    except AuthError as error:
        return Ended(f"the tokens were not revoked: {error}", failed=True)
    return Ended()


class _Done(Exception):  # noqa: N818  no error: the rest of a flow is not wanted
    """What was wanted is there."""


class _Attempt:
    """One login, from the first 401 to a token that the server takes."""

    def __init__(
        self,
        wish: Wish,
        before: tuple[StoredLogin, Secrets] | None,
        callback: Callback,
        show: Callable[[str, Callback], None],
    ) -> None:
        self._wish = wish
        self._last = before[0] if before else None
        self._callback = callback
        self._show = show
        client, self._registration = _client(wish, before, callback.uri)
        self._kept = sdk.FlowStorage(client)
        self._flow = sdk.provider(
            wish.server, callback.uri, self._kept, self._ask, self._answer, wish.document or None
        )
        self._probe = sdk.probe(wish.server)
        self._was_challenged = False
        self._verdict = 0

    async def run(self, wire: Wire) -> tuple[StoredLogin, Secrets]:
        """Log in; nothing is stored."""
        self._wire = wire
        await sdk.drive(self._flow, self._probe, self._send)
        login, secrets = self._outcome()
        if self._verdict in (UNAUTHORIZED, FORBIDDEN):
            await revoke(login, secrets)
            raise AuthError(
                f"{login.server} refuses the token that {login.issuer or 'it'} just gave for it "
                f"({self._verdict}): it may be for another audience, or lack a scope.\n"
                "  Nothing was kept. Whoever runs the server can tell what it wants."
            )
        return login, secrets

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        if request is not self._probe:
            return await sdk.asked(self._flow, self._wire, request)
        answer = await self._wire.send(request, body=False)
        if self._was_challenged:
            self._verdict = answer.status_code
            return httpx2.Response(answer.status_code, request=request)
        self._was_challenged = True
        asked = challenge.read(", ".join(answer.headers.get_list("www-authenticate")))
        if answer.status_code != UNAUTHORIZED and asked.error != SCOPE_MISSING:
            await self._must_have_metadata(answer)
        if asked.schemes and "bearer" not in asked.schemes:
            raise AuthError(
                f"{self._wish.server} asks for {shown(', '.join(asked.schemes), 60)}, and not for "
                "an OAuth login.\n  Give it what it wants as a header:  "
                "pipeguard wrap --header-env NAME=VAR --upstream …"
            )
        scope = self._wish.scope or asked.scope
        if self._last and self._last.wanted and not self._wish.scope:
            scope = challenge.joined(self._last.scope, self._last.wanted, asked.scope)
        header = asked._replace(scope=scope, error="").header
        return httpx2.Response(UNAUTHORIZED, headers={"WWW-Authenticate": header}, request=request)

    async def _must_have_metadata(self, answer: httpx2.Response) -> None:
        """A server may let some requests pass without a login, and want one for others."""
        server = self._wish.server
        for url in build_protected_resource_metadata_discovery_urls(None, server):
            found = await self._wire.send(create_oauth_metadata_request(url))
            if await handle_protected_resource_response(found):
                return
        where = shown(answer.headers.get("location", ""), SHOWN_CHARS)
        raise AuthError(
            f"{server} answers {answer.status_code} to a request without a token, and has no "
            f"metadata that says where to log in.{where and f' It points to {where!r}.'}\n"
            "  If it is the right address, it needs no login."
        )

    async def _ask(self, url: str) -> None:
        """Show a person where to log in (the SDK's redirect handler)."""
        sdk.must_be_fit(self._flow, token_host=self._wish.token_host, legacy=self._wish.legacy)
        url = sdk.browser_url(self._flow, url)
        await self._wire.must_reach(url)
        state = parse_qs(urlsplit(url).query).get("state", [""])[0]
        self._callback.expect(state, url)
        await asyncio.to_thread(self._show, url, self._callback)  # some browsers hold it up

    async def _answer(self) -> AuthorizationCodeResult:
        """Wait for what the browser brings (the SDK's callback handler)."""
        answer = await self._callback.answer(self._wish.timeout_seconds)
        metadata = self._flow.context.oauth_metadata
        iss = answer.iss
        if metadata is None and iss == origin(self._wish.server):
            iss = (
                None  # R2 basic/authorization: without metadata, the server's origin is the issuer
            )
        # RFC 9207, 2.4: before anything is made of the answer, an error included.
        validate_authorization_response_iss(iss, metadata)
        if answer.code is None:
            why = masked(": ".join(filter(None, (answer.error, answer.description))), ())
            _refused(self._wish.server, why)
        return AuthorizationCodeResult(code=answer.code, state=answer.state, iss=iss)

    def _outcome(self) -> tuple[StoredLogin, Secrets]:
        wish, context, last = self._wish, self._flow.context, self._last
        client, tokens = context.client_info, context.current_tokens
        if client is None or tokens is None:
            raise AuthError(f"the login to {wish.server} ended without a token.")
        if context.oauth_metadata is not None and client.issuer is None:
            client.issuer = str(context.oauth_metadata.issuer)
        given = self._registration
        if given is None:
            is_document = client.client_id == wish.document
            given = Registration.DOCUMENT if is_document else Registration.DYNAMIC
        secrets = Secrets(
            tokens.access_token,
            tokens.refresh_token or "",
            client.client_secret or "",
        )
        login = StoredLogin(
            server=wish.server,
            name=wish.name or (last.name if last else usual_name(wish.server)),
            issuer=str(context.oauth_metadata.issuer) if context.oauth_metadata else "",
            place=wish.place,
            client=sdk.kept_client(client),
            registration=given,
            metadata=sdk.kept_metadata(context.oauth_metadata),
            resource_metadata=sdk.kept_metadata(context.protected_resource_metadata),
            scope=tokens.scope or "",
            wanted=_not_granted(last.wanted if last else "", tokens.scope or ""),
            obtained_at=time.time(),
            expires_at=sdk.ends_at(tokens),
            ca=wish.ca,
            has_access=True,
            has_refresh=bool(tokens.refresh_token),
        )
        return login, secrets


def _client(
    wish: Wish, before: tuple[StoredLogin, Secrets] | None, redirect_uri: str
) -> tuple[OAuthClientInformationFull | None, Registration | None]:
    """The registration to log in with, if one is there that fits."""
    uris = [AnyUrl(redirect_uri)]
    if wish.client_id:
        client = OAuthClientInformationFull(
            client_id=wish.client_id,
            client_secret=wish.client_secret or None,
            token_endpoint_auth_method=None if wish.client_secret else "none",
            redirect_uris=uris,
        )
        return client, Registration.GIVEN
    if before is None or wish.document:
        return None, None
    login, secrets = before
    if not login.client:
        return None, None
    kept = sdk.restored(login, secrets)[0].context.client_info
    if kept is None:
        return None, None
    if login.registration is Registration.DYNAMIC and (
        uris[0] not in (kept.redirect_uris or ())  # its port is taken now
        or 0 < (kept.client_secret_expires_at or 0) <= time.time()  # RFC 7591, 3.2.1: 0 is never
    ):
        return None, None
    return kept, login.registration


def _not_granted(wanted: str, scope: str) -> str:
    granted = scope.split()
    return " ".join(one for one in wanted.split() if granted and one not in granted)


def _refused(server: str, why: str) -> NoReturn:
    raise AuthError(f"the login to {server} was refused: {why}.")


def _id(flow: OAuthClientProvider) -> str:
    return flow.context.client_info.client_id if flow.context.client_info else ""


def _save(store: LoginStore, login: StoredLogin, secrets: Secrets) -> None:
    with store.lock(login.server):
        store.save(login, secrets)


def _forget(store: LoginStore, server: str) -> None:
    with store.lock(server):
        store.forget(server)
