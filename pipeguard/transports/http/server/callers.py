"""The sender of a request: the owner of one of our tokens, or a subject of an issuer.

Source: RFC 6750, section 2.1.
"""

import hmac
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.transports.http.server.sessions import digest


class Caller(NamedTuple):
    """The sender of an admitted request.

    Attributes:
        name: of the token, or of a sign-in's subject and groups; empty if no token is required.
        digest: SHA-256 of the token, to check later that it is still valid.
    """

    name: str
    digest: bytes = b""

    @property
    def has_groups(self) -> bool:
        """True for a sign-in's caller with rights: its groups are in further lines of its name."""
        return "\n" in self.name


class StoredTokens(Protocol):
    """Tokens stored only as their SHA-256."""

    def digests(self) -> Mapping[str, bytes]:
        """The SHA-256 of each valid token, by name."""

    def are_required(self) -> bool:
        """True if clients need a token, even if no token is valid."""

    def may_decide(self, digest: bytes) -> bool:
        """True for the SHA-256 of a valid token that only opens the page."""


class IssuedTokens(Protocol):
    """Sign-ins by JWTs of an issuer (RFC 9068)."""

    @property
    def is_required(self) -> bool:
        """True if clients need a token."""

    @property
    def metadata_url(self) -> str:
        """The URL of the resource's metadata (RFC 9728, section 3.1); empty without an issuer."""

    @property
    def metadata(self) -> JsonObject:
        """The resource's metadata (RFC 9728, section 2)."""

    def find_caller(self, digest: bytes) -> str | None:
        """The caller with a verified token, by its SHA-256; None if it does not hold."""

    async def verify(self, token: str) -> str | None:
        """The caller with a token; None if it holds no more, empty if no key is known.

        Raises:
            AuthError: it is not valid.
        """


class Tokens:
    """The bearer tokens that clients may use; their source may change.

    Args:
        read: returns the current tokens by their names; None if all are stored ones.
        stored: further tokens, or None.
        sign_ins: of an issuer, or None.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[str, str]] | None = None,
        stored: StoredTokens | None = None,
        sign_ins: IssuedTokens | None = None,
    ) -> None:
        self._read = read
        self._stored = stored
        self.sign_ins = sign_ins

    def are_needed(self) -> bool:
        """True if a request must have a token: always, but before the first stored one."""
        if self.sign_ins is not None and self.sign_ins.is_required:
            return True
        return self._read is not None or self._stored is None or self._stored.are_required()

    def find_caller(self, authorization: str | None) -> Caller | None:
        """The owner of a request's token, or None; a wrong one takes as long as a right one."""
        given, caller = _digest_bearer(authorization), None
        for name, known in self._digests().items():
            if hmac.compare_digest(known, given):
                caller = Caller(name, given)
        return caller

    async def find_subject(self, authorization: str | None) -> Caller | None:
        """The subject of a request's JWT, or None; nameless if no key of the issuer is known.

        Raises:
            AuthError: it is not valid.
        """
        token = _read_bearer(authorization)
        if self.sign_ins is None or not token:
            return None
        name = self.sign_ins.find_caller(digest(token)) or await self.sign_ins.verify(token)
        return None if name is None else Caller(name, digest(token))

    def is_for_page(self, authorization: str | None) -> bool:
        """True for a request's token that only opens the page."""
        return self._stored is not None and self._stored.may_decide(_digest_bearer(authorization))

    def check_later(self) -> Callable[[Caller], bool]:
        """The check if a caller would be admitted now, with the token that it came with."""
        are_needed, digests, sign_ins = self.are_needed(), self._digests(), self.sign_ins

        def admit(who: Caller) -> bool:
            if not who.name:
                return not are_needed
            if who.has_groups:
                return sign_ins is not None and sign_ins.find_caller(who.digest) == who.name
            return digests.get(who.name) == who.digest

        return admit

    def has_whole(self, name: str) -> bool:
        """True for a token that is known as it is, not by its digest."""
        return self._read is not None and name in self._read()

    def _digests(self) -> dict[str, bytes]:
        read = self._read() if self._read is not None else {}
        given = {name: digest(token) for name, token in read.items()}
        return {**(self._stored.digests() if self._stored is not None else {}), **given}


def _read_bearer(authorization: str | None) -> str:
    """The bearer token of a header; empty for any other credential."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest_bearer(authorization: str | None) -> bytes:
    """SHA-256 of a bearer token; empty for any other credential."""
    token = _read_bearer(authorization)
    return digest(token) if token else b""
