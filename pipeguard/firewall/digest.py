"""SHA-256 (FIPS 180-4), HMAC and BLAKE2b, without the 4 MB and 2 ms that OpenSSL costs to load.

`hashlib` prefers OpenSSL. The interpreter has an implementation of its own, from 3.12 on HACL*,
which is formally verified. It is half as fast, which does not matter here. `hashlib` serves in
builds without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import blake2b, sha256
else:
    try:
        from _blake2 import blake2b  # RFC 7693
    except ImportError:
        from hashlib import blake2b
    try:
        from _sha2 import sha256  # CPython 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256  # CPython 3.11
        except ImportError:
            from hashlib import sha256

__all__ = ["blake2b", "hexdigest", "hmac_hexdigest", "sha256"]

_BLOCK_BYTES = 64  # of SHA-256, which bound a key
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
LARGE_BYTES = 2**18  # from here on OpenSSL's speed is worth its memory: 0.5 ms/MB, not 2 to 4


def hexdigest(data: bytes | memoryview) -> str:
    """The SHA-256 of bytes of any length, as 64 hex digits."""
    if len(data) < LARGE_BYTES:
        return sha256(data).hexdigest()
    import hashlib

    return hashlib.sha256(data).hexdigest()


def hmac_hexdigest(key: bytes, data: bytes) -> str:
    """The HMAC-SHA-256 (RFC 2104) of bytes with a key of up to 64, as 64 hex digits."""
    padded = key.ljust(_BLOCK_BYTES, b"\0")
    make = sha256
    if len(data) >= LARGE_BYTES:
        import hashlib

        make = hashlib.sha256
    inner = make(padded.translate(_INNER))
    inner.update(data)
    return make(padded.translate(_OUTER) + inner.digest()).hexdigest()
