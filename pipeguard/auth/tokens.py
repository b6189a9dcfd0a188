"""Tokens after the login: renewed while they can be, and given back at the logout.

Knows the SDK's flow only by `sdk`, and no person.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from httpx2 import Request, Response
from mcp.client.auth import OAuthClientProvider

from pipeguard.auth.sdk import drive, find_expiry, probe, restored_flow
from pipeguard.auth.store import LoginStore, Registration, Secrets, StoredLogin
from pipeguard.auth.wire import UnreachableError, Wire, refusal
from pipeguard.errors import AuthError, PipeGuardError

# RFC 6749, 5.2: errors that a later request meets again.
REFUSED_FOR_GOOD = {"invalid_grant", "invalid_client", "unauthorized_client"}


class _Done(Exception):  # noqa: N818  no error: the rest of a flow is not needed
    """Ends a flow that has done its work."""


async def renew(login: StoredLogin, secrets: Secrets) -> tuple[StoredLogin, Secrets]:
    """Get new tokens with the refresh token (RFC 6749, 6); nothing is stored.

    Returns:
        The login with new tokens; without a refresh token if it was refused for good.

    Raises:
        UnreachableError: the authorization server gives no usable answer now.
        AuthError: the flow failed for another reason.
    """
    flow, storage = restored_flow(login, secrets)
    before = storage.tokens
    last = probe(login.server)
    ended: list[str] = []

    async with Wire(login.server, login.ca) as wire:

        async def send(request: Request) -> Response:
            if request is last:  # it is never sent: the new tokens are in `storage`
                raise _Done
            answer = await wire.send(request)
            if answer.is_success or answer.next_request is not None:
                return answer
            code, why = refusal(answer, secrets.all())
            if code not in REFUSED_FOR_GOOD:
                raise UnreachableError(f"no new token for {login.server}: {why}")
            ended.append(code)
            raise _Done

        with contextlib.suppress(_Done):
            await drive(flow, last, send)
    now = time.time()
    if ended:
        if login.registration is Registration.DYNAMIC and ended != ["invalid_grant"]:
            login = replace(login, client={})  # the next login registers again
        return login, replace(secrets, refresh_token="")
    tokens = storage.tokens
    if tokens is None or tokens is before:
        raise UnreachableError(f"no new token for {login.server}: the answer contains none.")
    fresh = replace(
        login,
        scope=tokens.scope or login.scope,
        obtained_at=now,
        expires_at=find_expiry(tokens),
    )
    return fresh, replace(
        secrets, access_token=tokens.access_token, refresh_token=tokens.refresh_token or ""
    )


class Revocation(NamedTuple):
    """The result of revoking a login's tokens.

    Attributes:
        why_not: why the tokens are still valid, in a sentence; "" if they are revoked.
        failed: whether the authorization server could have revoked them.
    """

    why_not: str = ""
    failed: bool = False


async def log_out(store: LoginStore, server: str) -> Revocation:
    """Revoke a login's tokens, and forget the login in any case.

    Raises:
        StateError: it cannot be removed.
        AuthError: the keyring did not delete it.
    """
    try:
        stored = await asyncio.to_thread(store.read, server)
        revocation = await revoke(*stored) if stored else Revocation()
    except PipeGuardError as error:
        why = f"the tokens could not be read from the store: {error}"
        revocation = Revocation(why, failed=True)
    await asyncio.to_thread(_forget, store, server)
    return revocation


async def revoke(login: StoredLogin, secrets: Secrets) -> Revocation:
    """Ask the authorization server to revoke tokens (RFC 7009)."""
    if not login.client:
        return Revocation(
            f"{login.issuer} no longer knows this client, so PipeGuard could not revoke anything."
        )
    flow, _ = restored_flow(login, secrets)
    metadata = flow.context.oauth_metadata
    if metadata is None or metadata.revocation_endpoint is None:
        issuer = login.issuer or login.server
        return Revocation(f"{issuer} does not revoke tokens; they expire by themselves.")
    endpoint = str(metadata.revocation_endpoint)
    try:
        async with Wire(login.server, login.ca) as wire:
            for request in _revocations(flow, endpoint, secrets):
                await _send_revocation(wire, request, secrets)
    except AuthError as error:
        return Revocation(f"the tokens were not revoked: {error}", failed=True)
    return Revocation()


def _revocations(flow: OAuthClientProvider, endpoint: str, secrets: Secrets) -> Iterator[Request]:
    """A request for each token (RFC 7009, 2.1)."""
    client = flow.context.client_info
    for hint, token in (
        ("refresh_token", secrets.refresh_token),
        ("access_token", secrets.access_token),
    ):
        if token:
            client_id = client.client_id if client else ""
            form = {"token": token, "token_type_hint": hint, "client_id": client_id}
            form, headers = flow.context.prepare_token_auth(form, {})
            yield Request("POST", endpoint, data=form, headers=headers)


async def _send_revocation(wire: Wire, request: Request, secrets: Secrets) -> None:
    """Send one request.

    Raises:
        AuthError: the authorization server refused it.
    """
    answer = await wire.send(request)
    code, why = refusal(answer, secrets.all())
    # RFC 7009, 2.2.1: JWTs often cannot be revoked.
    if not answer.is_success and code != "unsupported_token_type":
        raise AuthError(why)


def _forget(store: LoginStore, server: str) -> None:
    with store.lock(server):
        store.forget(server)
