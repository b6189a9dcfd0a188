"""The sign-ins that hold now: verified tokens, remembered until they end or are revoked.

What verifies is imported with the first settings, and not before.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import datetime
from hashlib import sha256
from time import time
from typing import TYPE_CHECKING

from pipeguard.auth.identity_key import Identity, name_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeguard.auth.identity import SignIn
    from pipeguard.auth.jwks import IssuerKeys
    from pipeguard.firewall.protocol.json_values import JsonObject
    from pipeguard.state.tokens import TokenScope

MOST_KNOWN = 5000  # verified tokens; more than there are connections


class SignIns:
    """The sign-ins that are accepted now. For one event loop.

    A token is verified once, and remembered by its digest. Each request, and each second of an
    open stream, asks again whether it holds: by its end, its key, the revoked subjects and the
    present settings.

    Args:
        revoked: returns since when the sign-ins of subjects no longer hold.
        tell: takes a line about the issuer, for people.

    Attributes:
        identity: the present settings; None to accept none.
        is_required: True from the first settings on: without them, no client comes in.
    """

    def __init__(
        self, revoked: Callable[[], Mapping[str, str]], tell: Callable[[str], None]
    ) -> None:
        self.is_required = False
        self.identity: Identity | None = None
        self._revoked, self._tell = revoked, tell
        self._keys: IssuerKeys | None = None
        self._following: asyncio.Task[None] | None = None
        # By digest; the last used are at the end.
        self._known: OrderedDict[bytes, SignIn] = OrderedDict()

    def change(self, identity: Identity | None) -> None:
        """Use these settings from now on; what they no longer accept ends."""
        before, self.identity = self.identity, identity
        self.is_required |= identity is not None
        if _without_clients(before) == _without_clients(identity):
            return
        self._known.clear()
        self.close()
        self._keys = None
        if identity is not None:
            from pipeguard.auth.jwks import IssuerKeys

            self._keys = IssuerKeys(identity.issuer, identity.algorithms, self._tell)
            self._following = asyncio.create_task(self._keys.follow())

    def find_scopes(self, who: str) -> tuple[TokenScope, ...]:
        """The present rights of a caller, as `find_caller` names it."""
        return self.identity.find_scopes(who) if self.identity is not None else ()

    @property
    def metadata_url(self) -> str:
        """The URL of the resource's metadata; empty without settings."""
        return self.identity.metadata_url if self.identity is not None else ""

    @property
    def metadata(self) -> JsonObject:
        """The resource's metadata."""
        return self.identity.metadata if self.identity is not None else {}

    def close(self) -> None:
        """Follow the issuer no more."""
        if self._following is not None:
            self._following.cancel()

    def find_caller(self, digest: bytes) -> str | None:
        """The caller with a verified token, by its SHA-256; None if it does not hold."""
        sign_in = self._known.get(digest)
        if sign_in is None or self.identity is None or not self._holds(sign_in):
            return None
        self._known.move_to_end(digest)
        claims = sign_in.claims
        return name_caller(claims.subject, self.identity.filter_groups(claims.groups))

    async def verify(self, token: str) -> str | None:
        """The caller with a token; None if it holds no more, empty if no key is known.

        Raises:
            AuthError: it is not valid.
        """
        identity, keys = self.identity, self._keys
        if identity is None or keys is None:
            return None
        from pipeguard.auth.identity import NoKeysError, verify_token

        digest = sha256(token.encode()).digest()
        try:
            sign_in = await verify_token(token, identity, keys)
        except NoKeysError:
            return ""
        if keys is not self._keys:  # an edit came in between
            return None
        self._known[digest] = sign_in
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return self.find_caller(digest)

    def _holds(self, sign_in: SignIn) -> bool:
        claims = sign_in.claims
        keys = self._keys.current_keys() if self._keys is not None else ()
        if time() >= claims.expires or sign_in.key not in keys:
            return False
        revoked = self._revoked().get(claims.subject)
        if revoked is None:
            return True
        moment = datetime.fromisoformat(revoked).timestamp()  # to the second, as most tokens
        return claims.issued is not None and int(claims.issued) > moment


def _without_clients(identity: Identity | None) -> Identity | None:
    return identity and identity._replace(clients=())
