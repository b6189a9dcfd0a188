"""Access tokens of an OpenID Connect issuer, verified: JWTs that clients send like our tokens.

Nothing in a token chooses how it is verified: `jku`, `jwk`, `x5c` and `x5u` are ignored, and a
`crit` is refused. An ID token is for a client, so its audience is not our resource. Sources: RFC
7515, section 4.1; RFC 7519, section 4.1; RFC 8725, section 3; RFC 9068, section 4.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from functools import cache
from math import isfinite
from time import time
from typing import TYPE_CHECKING

from jwt import PyJWTError
from jwt.algorithms import get_default_algorithms

from pipeguard.auth.identity_key import Identity, is_subject
from pipeguard.auth.jwks import IssuerKey, IssuerKeys
from pipeguard.errors import AuthError, Refusal
from pipeguard.firewall.protocol.json_values import JsonObject, Number, as_list
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LEEWAY_SECONDS = 30.0
MOST_BYTES = 8192
_MOST_DIGITS = 20
_TYPES = ("jwt", "at+jwt")
_TOKEN = re.compile(r"(([\w-]+)\.([\w-]+))\.([\w-]+)", re.ASCII)


class NoKeysError(AuthError):
    """No key of the issuer is known: nothing can be verified now."""


class Claims(NamedTuple):
    """The claims of a token that count.

    Attributes:
        subject: whose sign-in it is.
        groups: the subject's.
        issued: seconds since 1970; None if it does not say.
        expires: the same, with the leeway.
    """

    subject: str
    groups: frozenset[str]
    issued: float | None
    expires: float


def read_claims(claims: JsonObject, identity: Identity, now: float) -> Claims:
    """Check the claims of a token.

    Raises:
        AuthError: it is not for us, or not valid now.
    """
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != identity.issuer or identity.resource not in audiences:
        raise AuthError("another issuer or audience")
    times = {name: _read_time(claims, name) for name in ("exp", "nbf", "iat")}
    expires = times["exp"]
    if expires is None or now >= expires + LEEWAY_SECONDS:
        raise AuthError("it has expired")
    if any((times[name] or 0) > now + LEEWAY_SECONDS for name in ("nbf", "iat")):
        raise AuthError("it is not valid yet")
    subject = claims.get("sub")
    if type(subject) is not str or not is_subject(subject):
        raise AuthError("it has no usable subject")
    if "cnf" in claims:  # RFC 7800: whoever sends it must prove to have a key, which we cannot ask
        raise AuthError("it is bound to a key")
    groups = as_list(claims.get(identity.groups))
    return Claims(
        subject,
        frozenset(group for group in groups if type(group) is str),
        times["iat"],
        expires + LEEWAY_SECONDS,
    )


async def verify_token(token: str, identity: Identity, keys: IssuerKeys) -> SignIn:
    """Verify a token; its key may have to be fetched.

    Raises:
        NoKeysError: no key of the issuer is known.
        AuthError: it is not valid.
    """
    match = _TOKEN.fullmatch(token) if len(token) <= MOST_BYTES else None
    if match is None:
        raise AuthError("it is not one of ours, nor a signed JWT")
    header = _read_object(match[2])
    algorithm, kid = _read_header(header, identity)
    claims = read_claims(_read_object(match[3]), identity, time())
    key = await keys.find(kid, algorithm)
    if not keys.current_keys():
        raise NoKeysError(f"no key of {identity.issuer} is known")
    if key is None:
        raise AuthError("it names no key of the issuer")
    try:
        is_right = _algorithms()[algorithm].verify(match[1].encode(), key.key, _decode(match[4]))
    except (PyJWTError, ValueError, TypeError):
        is_right = False
    if not is_right:
        raise AuthError("its signature is wrong")
    return SignIn(claims, key)


class SignIn(NamedTuple):
    """A verified token.

    Attributes:
        claims: of it.
        key: that signed it.
    """

    claims: Claims
    key: IssuerKey


def _read_object(part: str) -> JsonObject:
    try:
        value = parse_json(_decode(part))
    except Refusal:
        value = None
    if not isinstance(value, dict):
        raise AuthError("a part of it is not a JSON object")
    return value


def _decode(part: str) -> bytes:
    try:
        return urlsafe_b64decode(f"{part}==")
    except ValueError:
        raise AuthError("a part of it is not in base64url") from None


def _read_header(header: JsonObject, identity: Identity) -> tuple[str, str | None]:
    """The algorithm, and the name of the key.

    Raises:
        AuthError: it is not the header of an access token that we can verify.
    """
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if type(algorithm) is not str or algorithm not in identity.algorithms or "crit" in header:
        raise AuthError("its algorithm is not accepted")
    if type(kind) is not str or kind.lower().removeprefix("application/") not in _TYPES:
        raise AuthError("it is not an access token")
    if kid is not None and type(kid) is not str:
        raise AuthError("it names no key")
    return algorithm, kid


def _read_time(claims: JsonObject, name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if not isinstance(value, Number) or len(value) > _MOST_DIGITS or not isfinite(float(value)):
        raise AuthError(f"its {name} is no time")
    return float(value)


@cache
def _algorithms() -> Mapping[str, Any]:
    return get_default_algorithms()
