"""Bundles of an organisation's policy, signed and verified: compact JWS (RFC 7515) with EdDSA.

Knows keys and claims, neither the network nor which bundle is in force. A header has exactly three
members, so nothing in it chooses how it is verified. What verifies is imported for it alone.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.config.enrolment import MAX_BUNDLE_BYTES
from pipeguard.config.organisation import Bundle, read_claims, read_part
from pipeguard.errors import PolicyError
from pipeguard.installation import require_extra
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

ALGORITHM = "EdDSA"
TYPE = "pipeguard-policy+jwt"


class BundleChain(NamedTuple):
    """Accepted bundles, each verified with the keys that the ones before it left.

    Attributes:
        keys: public keys that sign the next one, by their thumbprints.
        rotations: the bundles that changed which keys sign.
        token: the newest bundle that verifies.
        kid: the thumbprint of the key that signed it; empty if there is a problem.
        bundle: its claims; of version 0 if there is none.
        problem: why the newest of all does not verify, or that there is none; empty if it does.
    """

    keys: Mapping[str, Ed25519PublicKey]
    rotations: tuple[str, ...] = ()
    token: str = ""
    kid: str = ""
    bundle: Bundle = Bundle()
    problem: str = "there is no bundle yet."

    def extend(self, token: str) -> BundleChain:
        """Verify one more bundle, or the newest one again.

        Raises:
            PolicyError: it is refused.
        """
        from jwt import PyJWS, PyJWTError

        if token == self.token and token:
            return self._replace(problem="")
        kid, bundle = read_token(token)
        if kid not in self.keys:
            raise PolicyError("its key is not one that may sign.")
        try:
            PyJWS().decode(token, self.keys[kid], [ALGORITHM])
        except PyJWTError:
            raise PolicyError("its signature is wrong.") from None
        current = self.bundle.version
        if bundle.version <= current:
            raise PolicyError(f"its version {bundle.version} is not above {current}, now in force.")
        keys = dict(map(read_key, bundle.keys)) or self.keys
        changed = (token,) if keys.keys() != self.keys.keys() else ()
        return BundleChain(keys, self.rotations + changed, token, kid, bundle, "")


def verify_chain(tokens: Iterable[str], jwk: Mapping[str, object]) -> BundleChain:
    """Verify bundles in the order in which they were accepted.

    One that does not verify is skipped: an administrator may have written a newer key into the
    enrolment since.

    Args:
        tokens: the bundles.
        jwk: the key of the enrolment.

    Raises:
        PolicyError: the key is none.
    """
    chain = BundleChain(dict([read_key(jwk)]))
    for token in tokens:
        try:
            chain = chain.extend(token)
        except PolicyError as error:
            chain = chain._replace(kid="", problem=str(error))
    return chain


def read_token(token: str) -> tuple[str, Bundle]:
    """Read a bundle without verifying it; return the thumbprint of its key, and its claims.

    Raises:
        PolicyError: it is not exactly in the form of a bundle.
    """
    if not re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token, re.ASCII):
        raise PolicyError("it is not a signed bundle: one compact JWS.")
    header = read_part(token, 0)
    kid = str(header.get("kid"))
    if header != {"alg": ALGORITHM, "kid": kid, "typ": TYPE}:
        raise PolicyError("its header is not that of a bundle.")
    return kid, read_claims(token)


def read_key(jwk: Any) -> tuple[str, Ed25519PublicKey]:
    """Read a public key, a JWK (RFC 8037) or its text; return its thumbprint and the key.

    Raises:
        PolicyError: it is a private key, or of another kind.
    """
    require_extra("fleet", "signatures", PolicyError)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from jwt import PyJWTError
    from jwt.algorithms import OKPAlgorithm

    key: object = None
    with suppress(PyJWTError, ValueError, TypeError, AttributeError, RecursionError):
        key = OKPAlgorithm.from_jwk(jwk)
    if not isinstance(key, Ed25519PublicKey):
        raise PolicyError("its key is not a public Ed25519 key, as a JWK.")
    return write_key(key)["kid"], key


def read_key_file(path: str) -> dict[str, str]:
    """Read a file with a public key as a JWK.

    Raises:
        PolicyError: it cannot be read, or is none.
    """
    try:
        return write_key(read_key(Path(path).read_text("utf-8"))[1])
    except (OSError, UnicodeDecodeError, PolicyError) as error:
        raise PolicyError(f"{path} is not a public key: {error}") from None


def write_key(key: Ed25519PublicKey) -> dict[str, str]:
    """Write a public key as a JWK, with its thumbprint (RFC 7638) as `kid`."""
    from jwt.algorithms import OKPAlgorithm
    from jwt.utils import base64url_encode

    jwk = OKPAlgorithm.to_jwk(key, as_dict=True)
    members = json.dumps(jwk, sort_keys=True, separators=(",", ":"))
    return {**jwk, "kid": base64url_encode(sha256(members.encode()).digest()).decode()}


def sign_bundle(claims: Mapping[str, object], private: Ed25519PrivateKey) -> str:
    """Sign claims, and verify the result as whoever follows will.

    Raises:
        PolicyError: it would be refused.
    """
    from jwt import PyJWS

    jwk = write_key(private.public_key())
    header = {"kid": jwk["kid"], "typ": TYPE}
    token = PyJWS().encode(json.dumps(claims).encode(), private, ALGORITHM, header)
    if len(token) > MAX_BUNDLE_BYTES:
        raise PolicyError(f"the bundle is larger than {MAX_BUNDLE_BYTES} bytes.")
    verify_chain((), jwk).extend(token)
    return token
