"""Bundles of an organisation's policy, signed and verified: compact JWS (RFC 7515) with EdDSA.

Knows keys and claims, neither the network nor which bundle is in force. A header has exactly three
members, so nothing in it chooses how it is verified. What verifies is imported for it alone.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.config.organisation import MAX_BUNDLE_BYTES, Bundle, read_claims
from pipeguard.errors import PolicyError, Refusal
from pipeguard.firewall.protocol.json_values import JsonObject, as_object
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.installation import require_extra
from pipeguard.records import NamedTuple
from pipeguard.unicode.display import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "EdDSA"
TYPE = "pipeguard-policy+jwt"
KEY_BYTES = 32
SHOWN_CHARS = 60  # of a text in a bundle that is refused


class BundleChain(NamedTuple):
    """Accepted bundles, each verified with the keys that the ones before it left.

    Attributes:
        keys: public keys that sign the next one, by their thumbprints.
        rotations: the bundles that changed which keys sign.
        token: the newest bundle that verifies.
        kid: the thumbprint of the key that signed it; empty if it is not the newest of all.
        bundle: its claims; None if it is not.
        problem: why the newest does not verify; empty if it does.
    """

    keys: Mapping[str, bytes]
    rotations: tuple[str, ...] = ()
    token: str = ""
    kid: str = ""
    bundle: Bundle | None = None
    problem: str = "there is no bundle yet."


def encode(content: bytes) -> str:
    """Write bytes in Base64url, without padding."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read Base64url in its one canonical spelling.

    Raises:
        PolicyError: it has another.
    """
    content = b""
    with suppress(ValueError):
        content = urlsafe_b64decode(f"{text}==")
    if encode(content) != text:
        raise PolicyError("it is truncated, or its Base64 is not canonical.")
    return content


def read_key(jwk: Mapping[str, object]) -> tuple[str, bytes]:
    """Read a public key (RFC 8037); return its thumbprint (RFC 7638) and its bytes.

    Raises:
        PolicyError: it is a private key, or of another kind.
    """
    if "d" in jwk:
        raise PolicyError("it has a private key, which only its signer may have.")
    key = decode(str(jwk.get("x", "")))
    if (jwk.get("kty"), jwk.get("crv"), len(key)) != ("OKP", "Ed25519", KEY_BYTES):
        raise PolicyError("its key is not an Ed25519 key.")
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{encode(key)}"}}'
    return encode(sha256(members.encode()).digest()), key


def read_key_file(path: str) -> JsonObject:
    """Read a file with a public key as a JWK.

    Raises:
        PolicyError: it cannot be read, or is none.
    """
    try:
        jwk = as_object(parse_json(Path(path).read_bytes()))
        read_key(jwk)
    except (OSError, Refusal, PolicyError) as error:
        raise PolicyError(f"{path} is not a public key: {error}") from None
    return jwk


def write_key(private: Ed25519PrivateKey) -> dict[str, str]:
    """Write the public half of a key as a JWK."""
    key = private.public_key().public_bytes_raw()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encode(key)}
    return {**jwk, "kid": read_key(jwk)[0], "alg": ALGORITHM, "use": "sig"}


def sign_bundle(claims: Mapping[str, object], private: Ed25519PrivateKey) -> str:
    """Sign claims, and verify the result as whoever follows will.

    Raises:
        PolicyError: it would be refused.
    """
    from jwt import PyJWS

    jwk = write_key(private)
    header = {"kid": jwk["kid"], "typ": TYPE}
    token = PyJWS().encode(json.dumps(claims).encode(), private, ALGORITHM, header)
    if len(token) > MAX_BUNDLE_BYTES:
        raise PolicyError(f"the bundle is larger than {MAX_BUNDLE_BYTES} bytes.")
    verify_bundle(token, dict([read_key(jwk)]))
    return token


def read_token(token: str) -> tuple[str, Bundle]:
    """Read a bundle without verifying it; return the thumbprint of its key, and its claims.

    Raises:
        PolicyError: it is not exactly in the form of a bundle.
    """
    parts = [decode(part) for part in token.split(".")]
    if len(parts) != 3:
        raise PolicyError("it is not a signed bundle: one compact JWS.")
    try:
        header, _ = (as_object(parse_json(part)) for part in parts[:2])
    except Refusal as refusal:
        reason = refusal.rule.partition(".")[2]
        raise PolicyError(f"it is not strict JSON ({reason}).") from None
    right = {"alg": ALGORITHM, "typ": TYPE, "kid": str(header.get("kid"))}
    for name in sorted(header.keys() | right.keys()):
        if header.get(name) != right.get(name):
            raise PolicyError(f"its header has a wrong `{show(name, SHOWN_CHARS)}`, or lacks it.")
    bundle = read_claims(token)
    for jwk in bundle.keys:
        read_key(jwk)
    return right["kid"], bundle


def verify_bundle(token: str, keys: Mapping[str, bytes]) -> tuple[str, Bundle]:
    """Read a bundle as `read_token`, and verify its signature with one of these keys.

    Raises:
        PolicyError: it is refused.
    """
    require_extra("fleet", "signatures", PolicyError)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from jwt import PyJWS, PyJWTError

    kid, bundle = read_token(token)
    if kid not in keys:
        raise PolicyError(f"its key {show(kid, SHOWN_CHARS)} is not one that may sign.")
    try:
        PyJWS().decode(token, Ed25519PublicKey.from_public_bytes(keys[kid]), [ALGORITHM])
    except PyJWTError:
        raise PolicyError("its signature is wrong.") from None
    return kid, bundle


def verify_chain(tokens: Iterable[str], keys: Mapping[str, bytes]) -> BundleChain:
    """Verify bundles in the order in which they were accepted.

    One that does not verify is skipped: an administrator may have written a newer key into the
    enrolment since. The newest must verify.

    Args:
        tokens: the bundles.
        keys: of the enrolment, by their thumbprints.
    """
    chain = BundleChain(keys)
    for token in tokens:
        try:
            kid, bundle = verify_bundle(token, chain.keys)
        except PolicyError as error:
            chain = chain._replace(kid="", bundle=None, problem=str(error))
            continue
        following = dict(map(read_key, bundle.keys)) or chain.keys
        changed = (token,) if following != chain.keys else ()
        chain = BundleChain(following, chain.rotations + changed, token, kid, bundle, "")
    return chain
