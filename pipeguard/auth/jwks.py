"""An issuer's public keys: from the set that its own metadata names, and from nowhere else.

Sources: OpenID Connect Discovery 1.0, section 4; RFC 7517, section 4; RFC 7518, sections 3 and 6.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx2
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from pipeguard.auth.identity_key import ALGORITHMS
from pipeguard.auth.server import must_be_safe
from pipeguard.auth.wire import Wire
from pipeguard.errors import AuthError, PipeGuardError, Refusal
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, as_list, as_object
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REFRESH_SECONDS = 300.0
AGAIN_SECONDS = 10.0  # between two fetches for unknown keys
FETCH_SECONDS = 5.0  # for all of a fetch
KEEP_SECONDS = 86400.0  # for which keys hold while the issuer is away
MOST_KEYS = 100
RSA_BITS = range(2048, 8193)  # RFC 7518, section 3.3; larger ones take long
METADATA = "/.well-known/openid-configuration"


class IssuerKey(NamedTuple):
    """One public key.

    Attributes:
        kid: its name; empty without one.
        algorithms: that may be verified with it.
        key: as the library has it.
    """

    kid: str
    algorithms: tuple[str, ...]
    key: Any


class IssuerKeys:
    """The keys of one issuer. For one event loop.

    Args:
        issuer: its identifier.
        algorithms: of signatures that count.
        tell: takes a line about the issuer, for people.
    """

    def __init__(
        self, issuer: str, algorithms: tuple[str, ...], tell: Callable[[str], None]
    ) -> None:
        self._issuer, self._algorithms, self._tell = issuer, algorithms, tell
        self._keys: tuple[IssuerKey, ...] = ()
        self._fetched_at = float("-inf")
        self._began_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._is_away = False

    async def follow(self) -> None:
        """Fetch the keys now, and again and again."""
        while True:
            await self._refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    def current_keys(self) -> tuple[IssuerKey, ...]:
        """The keys that hold; none if the issuer was away for too long."""
        return self._keys if monotonic() - self._fetched_at < KEEP_SECONDS else ()

    async def find(self, kid: str | None, algorithm: str) -> IssuerKey | None:
        """The one key that a token names, or the only one that fits; fetched if it is unknown."""
        if not self._find_named(kid):
            is_due = monotonic() - self._began_at >= AGAIN_SECONDS
            if self._fetching is not None or is_due:
                await self._refresh()
        fitting = [key for key in self._find_named(kid) if algorithm in key.algorithms]
        return fitting[0] if len(fitting) == 1 else None

    def _find_named(self, kid: str | None) -> list[IssuerKey]:
        return [key for key in self.current_keys() if kid in (None, key.kid)]

    async def _refresh(self) -> None:
        """Fetch the keys; all that call it meanwhile wait for the same fetch."""
        if self._fetching is None:
            self._began_at = monotonic()
            self._fetching = asyncio.create_task(self._replace_keys())
        await asyncio.wait({self._fetching})

    async def _replace_keys(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS), Wire(self._issuer) as wire:
                metadata = await self._read(wire, self._issuer.rstrip("/") + METADATA)
                if metadata.get("issuer") != self._issuer:
                    raise AuthError("its metadata names another issuer")
                jwks = await self._read(wire, metadata.get("jwks_uri"))
            if not isinstance(jwks.get("keys"), list):
                raise AuthError("its JWKS has no keys")
        except (PipeGuardError, Refusal, httpx2.InvalidURL, OSError, ValueError) as error:
            if not self._is_away:
                why = str(error).rstrip(".") or f"it takes longer than {FETCH_SECONDS:g} s"
                self._tell(f"the keys of {self._issuer} cannot be fetched: {why}")
            self._is_away = True
        else:
            self._keys = tuple(read_keys(as_list(jwks["keys"]), self._algorithms))
            self._fetched_at = monotonic()
            if self._is_away or not self._keys:
                count = len(self._keys)
                self._tell(f"{self._issuer} has {count} keys that fit `algorithms`")
            self._is_away = False
        finally:
            self._fetching = None

    async def _read(self, wire: Wire, url: JsonValue) -> JsonObject:
        """Fetch a JSON object of the issuer.

        Raises:
            AuthError: the URL is not allowed, or does not answer with one.
            Refusal: the answer is not strict JSON.
        """
        if type(url) is not str:
            raise AuthError("its metadata has no jwks_uri")
        must_be_safe(url, self._issuer)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        answer = await wire.send(httpx2.Request("GET", url, headers=headers))
        if answer.status_code != 200:
            raise AuthError(f"{answer.request.url.host} answers {answer.status_code}")
        return as_object(parse_json(answer.content))


def read_keys(jwks: Iterable[JsonValue], algorithms: tuple[str, ...]) -> list[IssuerKey]:
    """The public keys of a set that verify one of these algorithms; others are left out."""
    keys = [_read_key(as_object(jwk), algorithms) for jwk in [*jwks][:MOST_KEYS]]
    return [key for key in keys if key is not None]


def _read_key(jwk: JsonObject, algorithms: tuple[str, ...]) -> IssuerKey | None:
    kind = jwk.get("kty"), jwk.get("crv", "")
    kid = jwk.get("kid", "")
    fitting = tuple(
        name for name in algorithms if ALGORITHMS[name] == kind and jwk.get("alg", name) == name
    )
    is_public = "d" not in jwk and jwk.get("use", "sig") == "sig"
    is_public &= "verify" in as_list(jwk.get("key_ops", ["verify"]))
    if not fitting or not is_public or type(kid) is not str:
        return None
    key = None
    with suppress(PyJWTError, ValueError, TypeError, AttributeError):
        key = PyJWK(jwk, fitting[0]).key
    if key is None or (isinstance(key, RSAPublicKey) and key.key_size not in RSA_BITS):
        return None
    return IssuerKey(kid, fitting, key)
